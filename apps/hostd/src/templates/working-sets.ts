import type { Logger } from 'pino';
import { prefetchWorkingSet, readWorkingSet, recordWorkingSet, type MicrovmProcess } from '#microvm';
import type { HeldTemplate } from './template-store';

/** What nobody went on from for so long may have left the page cache, ms. To read it again when it has not costs little. */
const COLD_AFTER_MS = 30_000;
/** From a clone's readiness on: what its programs touch first belongs to its first moments, ms. */
const FIRST_MOMENTS_MS = 500;

/**
 * Where the clones of each template were in its memory in their first moments: written down once, from the first clone, on the host where that was,
 * told to the others with the template, and read ahead when the next one starts after nobody did for a while. Each page that is not in the page cache is otherwise waited for when a guest
 * touches it, one after another. Neither a clone nor a template depends on it.
 */
export class WorkingSets {
  /** When a clone of it was started last, ms of a steady clock; by identity: a copy that was fetched anew is another one. */
  readonly #startedAt = new WeakMap<HeldTemplate, number>();
  readonly #recorded = new WeakSet<HeldTemplate>();
  #written: () => void = () => undefined;

  constructor(
    private readonly log: Logger,
    private readonly nowMs = () => performance.now(),
  ) {}

  /** Called when one was written down. */
  onWritten(listener: () => void): void {
    this.#written = listener;
  }

  /** A clone is about to start. Never rejects; the clone need not wait for it. */
  async readAhead(template: HeldTemplate): Promise<number> {
    const now = this.nowMs();
    const before = this.#startedAt.get(template) ?? -Infinity;
    this.#startedAt.set(template, now);
    if (now - before < COLD_AFTER_MS) return 0;
    try {
      return await prefetchWorkingSet(template.folder);
    } catch (error) {
      this.#note(error, template, 'the working set of a template was not read ahead');
      return 0;
    }
  }

  /** A clone is ready. Never rejects. */
  async record(template: HeldTemplate, clone: MicrovmProcess): Promise<void> {
    if (this.#recorded.has(template)) return;
    this.#recorded.add(template);
    try {
      if (await readWorkingSet(template.folder)) return;
      await new Promise((resolve) => setTimeout(resolve, FIRST_MOMENTS_MS).unref());
      await recordWorkingSet(template.folder, clone);
      this.#written();
    } catch (error) {
      // The next clone may stay for longer.
      this.#recorded.delete(template);
      this.#note(error, template, 'the working set of a template was not written down');
    }
  }

  #note(error: unknown, { manifest }: HeldTemplate, what: string): void {
    this.log.debug({ err: error as Error, templateId: manifest.templateId }, what);
  }
}
