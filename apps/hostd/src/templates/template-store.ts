import { readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { blobOfFile, digestOf } from '#images';
import { canonicalJson, parseTemplateReference, TemplateManifest } from '#protocol';
import { SnapshotFolders, SnapshotStorageError } from '../snapshots/snapshot-folders';

const MANIFEST = 'manifest.json';
const MANIFEST_MAX_BYTES = 1024 * 1024;
const MIB = 1024 * 1024;

/** The template of a clone cannot be had here. Its message goes into the microVM's history as it is. */
export class TemplateUnavailableError extends Error {
  override readonly name = 'TemplateUnavailableError';
}

/** A template that is here and whole. */
export interface HeldTemplate {
  folder: string;
  manifest: TemplateManifest;
  /** Of the manifest. */
  digest: string;
  /** Of its files as they are on the disk, holes left out. */
  bytes: number;
}

export interface TemplateStoreParts {
  /** On a disk that survives a reboot. */
  directory: string;
  /** What all templates together may take of the disk, bytes. */
  maxBytes: number;
  log: Logger;
  leastFreeMiB?: number;
}

/**
 * The templates of this host: a folder for each, with the files of the snapshot, of its disks, and a manifest that names their
 * digests. A file that changes after it was written is noticed before the next clone starts, and its template is given up: clones that
 * run keep what they have.
 */
export class TemplateStore {
  readonly #folders: SnapshotFolders;
  readonly #held = new Map<string, HeldTemplate>();
  /** Stamp of a template's files when they were last compared with their digests. */
  readonly #verified = new Map<string, string>();
  readonly #verifying = new Map<string, Promise<HeldTemplate>>();
  readonly #listeners: (() => void)[] = [];
  #used: (id: string) => void = () => undefined;

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
  begin(id: string, bytes: number): Promise<string> {
    const { maxBytes } = this.parts;
    if (this.bytes + bytes > maxBytes) {
      const message =
        `the templates of this host take ${mib(this.bytes)} MiB, and this one may take ${mib(bytes)} MiB; together they may take ${mib(maxBytes)} MiB: ` +
        'delete some, or raise VOLLEY_TEMPLATE_MIB';
      return Promise.reject(new SnapshotStorageError(message));
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
    for (const name of readdirSync(draft).sort()) {
      // A base is shared with the disks of others, and no one writes to it anyway.
      if (!name.endsWith('.base')) await chmod(join(draft, name), 0o400);
      files.push({ name, blob: await blobOfFile(join(draft, name)) });
    }
    const manifest = TemplateManifest.parse({ schema: 1, kind: 'template', templateId: id, ...about, files });
    await writeFile(join(draft, MANIFEST), canonicalJson(manifest), { mode: 0o400, flush: true });
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
   * The template that the spec of a clone names, found to be as it was written.
   *
   * @throws TemplateUnavailableError
   */
  async use(reference: string): Promise<HeldTemplate> {
    const { template: id, digest } = parseTemplateReference(reference);
    const held = this.#held.get(id);
    if (!held) throw new TemplateUnavailableError(`template ${id} is not on this host`);
    if (digest !== undefined && digest !== held.digest) {
      throw new TemplateUnavailableError(
        `template ${id} on this host is another one: it has the digest ${held.digest}`,
      );
    }
    this.#used(id);
    if (this.#verified.get(id) === stampOf(held)) return held;
    // Many clones may ask at once; it is read for one of them.
    const verifying = this.#verifying.get(id) ?? this.#verify(held).finally(() => this.#verifying.delete(id));
    this.#verifying.set(id, verifying);
    return verifying;
  }

  async #verify(held: HeldTemplate): Promise<HeldTemplate> {
    const { folder, manifest } = held;
    const { templateId: id } = manifest;
    const stamp = stampOf(held);
    for (const { name, blob } of manifest.files) {
      const found = await blobOfFile(join(folder, name)).catch((error: Error) => error);
      if (!(found instanceof Error) && found.digest === blob.digest) continue;
      const how = found instanceof Error ? `cannot be read (${found.message})` : 'is not as it was written';
      this.parts.log.error({ templateId: id, file: name }, `a template is damaged: a file ${how}; it is given up`);
      await this.remove(id);
      throw new TemplateUnavailableError(`template ${id} is damaged on this host: its file ${name} ${how}`);
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
  return { folder, manifest, digest: digestOf(text), bytes };
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
