import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import {
  prefetchWorkingSet,
  readWorkingSet,
  recordWorkingSet,
  SNAPSHOT_FILES,
  touchedSinceRestore,
  writeWorkingSet,
  type MicrovmProcess,
} from '#microvm';
import type { WorkingSet } from '#protocol';
import type { HeldTemplate } from './template-store';

/** What nobody went on from for so long, or was written so long ago, may have left the page cache, ms. To read it again when it has not costs little. */
const COLD_AFTER_MS = 30_000;
/** From a guest's readiness on: what its programs touch first belongs to its first moments, ms. */
const FIRST_MOMENTS_MS = 500;

/**
 * Where guests that go on from a snapshot are in its memory in their first moments; it is read ahead while the process is made, since each page that
 * is not in the page cache is otherwise waited for when a guest touches it, one after another. For a template it is written down once, from the first
 * clone, on the host where that was, and told to the others with the template. A suspended microVM has that of its last resume, or else
 * of its template. No guest and no template depends on it: nothing here rejects.
 */
export class WorkingSets {
  /** When a clone of it was started last, ms of a steady clock; by identity: a copy that was fetched anew is another one. */
  readonly #startedAt = new WeakMap<HeldTemplate, number>();
  readonly #recorded = new WeakSet<HeldTemplate>();
  /** Of those that went on from what they were suspended to. */
  readonly #resumed = new WeakMap<MicrovmProcess, WorkingSet>();
  #written: () => void = () => undefined;

  constructor(
    private readonly log: Logger,
    private readonly nowMs = () => performance.now(),
  ) {}

  /** Called when that of a template was written down. */
  onWritten(listener: () => void): void {
    this.#written = listener;
  }

  /** A clone is about to start, and need not wait for it. Gives the bytes. */
  async readAhead(template: HeldTemplate): Promise<number> {
    const now = this.nowMs();
    const before = this.#startedAt.get(template) ?? -Infinity;
    this.#startedAt.set(template, now);
    if (now - before < COLD_AFTER_MS) return 0;
    try {
      return await prefetchWorkingSet(template.folder);
    } catch (error) {
      this.#note(error, 'the working set of a template was not read ahead', template);
      return 0;
    }
  }

  /** A clone is ready. */
  async record(template: HeldTemplate, clone: MicrovmProcess): Promise<void> {
    if (this.#recorded.has(template)) return;
    this.#recorded.add(template);
    try {
      if (await readWorkingSet(template.folder)) return;
      await firstMoments();
      await recordWorkingSet(template.folder, clone);
      this.#written();
    } catch (error) {
      // The next clone may stay for longer.
      this.#recorded.delete(template);
      this.#note(error, 'the working set of a template was not written down', template);
    }
  }

  /** One that was suspended runs again. */
  async recordResumed(process: MicrovmProcess): Promise<void> {
    try {
      await firstMoments();
      this.#resumed.set(process, await touchedSinceRestore(process));
    } catch (error) {
      this.#note(error, 'what a resumed microVM touched first is not known');
    }
  }

  /** One is suspended to this folder. `template`: of a clone. */
  async leave(folder: string, process: MicrovmProcess, template: HeldTemplate | undefined): Promise<void> {
    try {
      const known = this.#resumed.get(process) ?? (template && (await readWorkingSet(template.folder)));
      if (known) await writeWorkingSet(folder, known);
    } catch (error) {
      this.#note(error, 'the working set of a suspended microVM was not written down');
    }
  }

  /** One is about to go on from this folder, and need not wait for it. Gives the bytes. */
  async readAheadOfResume(folder: string): Promise<number> {
    try {
      const { mtimeMs } = await stat(join(folder, SNAPSHOT_FILES.memory));
      return Date.now() - mtimeMs < COLD_AFTER_MS ? 0 : await prefetchWorkingSet(folder);
    } catch (error) {
      this.#note(error, 'the working set of a suspended microVM was not read ahead');
      return 0;
    }
  }

  #note(error: unknown, what: string, template?: HeldTemplate): void {
    this.log.debug({ err: error as Error, ...(template && { templateId: template.manifest.templateId }) }, what);
  }
}

const firstMoments = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, FIRST_MOMENTS_MS).unref());
