import { existsSync, readdirSync, readFileSync, rmSync, statSync, utimesSync } from 'node:fs';
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { KeyedQueue } from '#concurrency';
import { blobOfFile, digestOf } from '#images';
import { canonicalJson, parseTemplateReference, TemplateManifest } from '#protocol';
import { SharedWork } from '../images/shared-work';
import { SnapshotFolders, SnapshotStorageError } from '../snapshots/snapshot-folders';

const MANIFEST = 'manifest.json';
/** Beside the manifest of a template that was fetched: there is another copy of it. */
const FETCHED = 'fetched';
const MANIFEST_MAX_BYTES = 1024 * 1024;
const MIB = 1024 * 1024;

/** The template of a clone cannot be had here. Its message goes into the microVM's history as it is. */
export class TemplateUnavailableError extends Error {
  override readonly name = 'TemplateUnavailableError';
}

/** Thrown where a template is fetched: the object store, which was to have it, has not, or not all of it. */
export class TemplateLostError extends TemplateUnavailableError {}

/** A template that is here and whole. */
export interface HeldTemplate {
  folder: string;
  manifest: TemplateManifest;
  /** Of the manifest. */
  digest: string;
  /** Of its files as they are on the disk, holes left out. */
  bytes: number;
  /** It was made elsewhere. */
  fetched: boolean;
}

/** Brings a template here. @throws TemplateUnavailableError; whatever else it throws is for the history, too. */
export type FetchTemplate = (
  wanted: { templateId: string; digest: string },
  signal: AbortSignal,
) => Promise<HeldTemplate>;

export interface TemplateStoreParts {
  /** On a disk that survives a reboot. */
  directory: string;
  /** What all templates together may take of the disk, bytes. */
  maxBytes: number;
  /** Templates that microVMs here run from, or may be started of again. */
  inUse?: () => Iterable<string>;
  log: Logger;
  leastFreeMiB?: number;
}

/**
 * The templates of this host: a folder for each, with the files of the snapshot, of its disks, and a manifest that names their
 * digests. One that is not here is fetched when it is needed, and given up, the longest unused first, when others need the room. A file that
 * changes after it was written is noticed before the next clone starts, and its template is given up: clones that run keep what they have.
 */
export class TemplateStore {
  readonly #folders: SnapshotFolders;
  readonly #held = new Map<string, HeldTemplate>();
  /** Stamp of a template's files when they were last compared with their digests. */
  readonly #verified = new Map<string, string>();
  readonly #verifying = new Map<string, Promise<HeldTemplate | TemplateUnavailableError>>();
  readonly #listeners: (() => void)[] = [];
  readonly #fetching = new SharedWork<HeldTemplate>();
  readonly #turns = new KeyedQueue();
  #stored: ReadonlySet<string> = new Set();
  #used: (id: string) => void = () => undefined;
  #fetch: FetchTemplate | undefined;

  /** Opens the store. What is no template is removed. */
  constructor(private readonly parts: TemplateStoreParts) {
    const { directory, leastFreeMiB, log } = parts;
    this.#folders = new SnapshotFolders({ directory, ...(leastFreeMiB === undefined ? {} : { leastFreeMiB }) });
    for (const id of this.#folders.list()) {
      const folder = this.#folders.pathOf(id);
      try {
        this.#held.set(id, readTemplate(folder, id));
      } catch (error) {
        log.error({ err: error, templateId: id }, 'a folder among the templates is none; it is removed');
        rmSync(folder, { recursive: true, force: true });
      }
    }
  }

  /** Called when templates have come or gone. */
  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /** Told of every clone that starts. */
  onUse(used: (id: string) => void): void {
    this.#used = used;
  }

  /** Says where templates come from that are not here. Until then there are none. */
  connect(fetch: FetchTemplate): void {
    this.#fetch = fetch;
  }

  /**
   * Those of `asked` of which the object store has a copy: only they make room for others. One that was fetched and is not among them is
   * nobody's any more.
   */
  async setStored(stored: ReadonlySet<string>, asked: readonly string[]): Promise<void> {
    this.#stored = stored;
    for (const id of asked) {
      if (stored.has(id) || !this.#held.get(id)?.fetched) continue;
      this.parts.log.info({ templateId: id }, 'a template that was fetched is not known any more; it is removed');
      await this.remove(id);
    }
  }

  /** Everything that is here or being written. */
  list(): string[] {
    return [...new Set([...this.#held.keys(), ...this.#folders.begun])];
  }

  get(id: string): HeldTemplate | undefined {
    return this.#held.get(id);
  }

  /** What all templates take of the disk. */
  get bytes(): number {
    let sum = 0;
    for (const { bytes } of this.#held.values()) sum += bytes;
    return sum;
  }

  /** Images that clones of what is here need, as specs name them. */
  *images(): Generator<string> {
    for (const { manifest } of this.#held.values()) yield manifest.spec.image;
  }

  /** A folder for the files of a new template. `bytes`: what they may take at most. @throws SnapshotStorageError */
  async begin(id: string, bytes: number): Promise<string> {
    const { maxBytes } = this.parts;
    await this.#makeRoom(bytes);
    if (this.bytes + bytes > maxBytes) {
      const message =
        `the templates of this host take ${mib(this.bytes)} MiB, and this one may take ${mib(bytes)} MiB; together they may take ${mib(maxBytes)} MiB: ` +
        'delete some, or raise VOLLEY_TEMPLATE_MIB';
      throw new SnapshotStorageError(message);
    }
    return this.#folders.begin(id, bytes);
  }

  /** Takes in what was written into the folder. */
  async complete(
    id: string,
    draft: string,
    about: Omit<TemplateManifest, 'schema' | 'kind' | 'templateId' | 'files'>,
  ): Promise<HeldTemplate> {
    const files: TemplateManifest['files'] = [];
    for (const name of readdirSync(draft).sort()) files.push({ name, blob: await blobOfFile(join(draft, name)) });
    return this.#keep(draft, TemplateManifest.parse({ schema: 1, kind: 'template', templateId: id, ...about, files }));
  }

  /** Takes in a template that was fetched into the folder, found to be what its manifest says. */
  async takeIn(draft: string, manifest: TemplateManifest): Promise<HeldTemplate> {
    await writeFile(join(draft, FETCHED), '', { flag: 'wx', mode: 0o400 });
    return this.#keep(draft, manifest);
  }

  async #keep(draft: string, manifest: TemplateManifest): Promise<HeldTemplate> {
    const { templateId: id, files } = manifest;
    for (const { name } of files) {
      // A base is shared with the disks of others, and no one writes to it anyway.
      if (!name.endsWith('.base')) await chmod(join(draft, name), 0o400);
    }
    await writeFile(join(draft, MANIFEST), canonicalJson(manifest), { flag: 'wx', mode: 0o400, flush: true });
    const held = readTemplate(draft, id);
    const folder = await this.#folders.keep(id);
    const kept = { ...held, folder };
    this.#held.set(id, kept);
    // Written just now, and hashed as it is on the disk.
    this.#verified.set(id, stampOf(kept));
    this.#changed();
    return kept;
  }

  async abandon(id: string): Promise<void> {
    await this.#folders.abandon(id);
  }

  async remove(id: string): Promise<void> {
    if (!this.#held.delete(id)) return;
    this.#verified.delete(id);
    await this.#folders.remove(id);
    this.#changed();
  }

  /**
   * The template that the spec of a clone names, found to be as it was written; fetched, where it is not here or was damaged.
   *
   * @throws TemplateUnavailableError; SnapshotStorageError without room for it; ImageError `cancelled` when `signal` is aborted.
   */
  async use(reference: string, signal: AbortSignal): Promise<HeldTemplate> {
    const { template: id, digest } = parseTemplateReference(reference);
    this.#used(id);
    const here = this.#held.get(id);
    const held = here ? await this.#look(here) : new TemplateUnavailableError(`template ${id} is not on this host`);
    if (held instanceof TemplateUnavailableError) {
      const fetch = this.#fetch;
      if (!fetch || digest === undefined) throw held;
      return this.#fetching.join(id, signal, (shared) =>
        // One that was given up may still be clearing up.
        this.#turns.run(id, () => this.#held.get(id) ?? fetch({ templateId: id, digest }, shared)),
      );
    }
    if (digest !== undefined && digest !== held.digest) {
      throw new TemplateUnavailableError(
        `template ${id} on this host is another one: it has the digest ${held.digest}`,
      );
    }
    const now = Date.now() / 1_000;
    utimesSync(join(held.folder, MANIFEST), now, now);
    return held;
  }

  /** The template, found to be as it was written. @throws TemplateUnavailableError when it is not; then it is gone. */
  async whole(held: HeldTemplate): Promise<HeldTemplate> {
    const found = await this.#look(held);
    if (found instanceof TemplateUnavailableError) throw found;
    return found;
  }

  async #look(held: HeldTemplate): Promise<HeldTemplate | TemplateUnavailableError> {
    const { templateId: id } = held.manifest;
    if (this.#verified.get(id) === stampOf(held)) return held;
    // Many clones may ask at once; it is read for one of them.
    const verifying = this.#verifying.get(id) ?? this.#verify(held).finally(() => this.#verifying.delete(id));
    this.#verifying.set(id, verifying);
    return verifying;
  }

  /** Gives up what is unused for longest, of what there is another copy, until so many bytes fit. */
  async #makeRoom(bytes: number): Promise<void> {
    const { maxBytes, inUse, log } = this.parts;
    const fits = (): boolean => this.bytes + bytes <= maxBytes;
    if (fits()) return;
    const used = new Set(inUse?.());
    const usedAt = ({ folder }: HeldTemplate): number => statSync(join(folder, MANIFEST)).mtimeMs;
    const free = [...this.#held].filter(([id]) => this.#stored.has(id) && !used.has(id));
    for (const [id, held] of free.sort(([, a], [, b]) => usedAt(a) - usedAt(b))) {
      if (fits()) return;
      log.info({ templateId: id, bytes: held.bytes }, 'a template was given up to make room; the object store has it');
      await this.remove(id);
    }
  }

  /** The error says what is damaged; then it is gone. */
  async #verify(held: HeldTemplate): Promise<HeldTemplate | TemplateUnavailableError> {
    const { folder, manifest } = held;
    const { templateId: id } = manifest;
    const stamp = stampOf(held);
    for (const { name, blob } of manifest.files) {
      const found = await blobOfFile(join(folder, name)).catch((error: Error) => error);
      if (!(found instanceof Error) && found.digest === blob.digest) continue;
      const how = found instanceof Error ? `cannot be read (${found.message})` : 'is not as it was written';
      this.parts.log.error({ templateId: id, file: name }, `a template is damaged: a file ${how}; it is given up`);
      await this.remove(id);
      return new TemplateUnavailableError(`template ${id} is damaged on this host: its file ${name} ${how}`);
    }
    this.#verified.set(id, stamp);
    return held;
  }

  #changed(): void {
    for (const listener of this.#listeners) listener();
  }
}

function readTemplate(folder: string, id: string): HeldTemplate {
  const path = join(folder, MANIFEST);
  if (statSync(path).size > MANIFEST_MAX_BYTES) throw new Error('its manifest is too large');
  const text = readFileSync(path, 'utf8');
  const manifest = TemplateManifest.parse(JSON.parse(text));
  if (manifest.templateId !== id) throw new Error(`its manifest is that of ${manifest.templateId}`);
  let bytes = 0;
  for (const { name } of manifest.files) bytes += statSync(join(folder, name)).blocks * 512;
  return { folder, manifest, digest: digestOf(text), bytes, fetched: existsSync(join(folder, FETCHED)) };
}

/** Changes whenever somebody writes to one of its files, by whatever way. */
function stampOf({ folder, manifest }: HeldTemplate): string {
  return manifest.files
    .map(({ name }) => {
      const file = statSync(join(folder, name), { bigint: true, throwIfNoEntry: false });
      return file ? `${file.ino}.${file.size}.${file.mtimeNs}` : 'none';
    })
    .join(' ');
}

const mib = (bytes: number): number => Math.ceil(bytes / MIB);
