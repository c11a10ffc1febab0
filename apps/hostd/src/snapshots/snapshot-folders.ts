import { mkdirSync, readdirSync, renameSync, rmSync, statfsSync } from 'node:fs';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';

/** Why a snapshot cannot be kept on this host. Its message goes into the microVM's history as it is. */
export class SnapshotStorageError extends Error {
  override readonly name = 'SnapshotStorageError';
}

export interface SnapshotFoldersParts {
  /** On a disk that survives a reboot. */
  directory: string;
  /** Free space below which nothing new is begun, MiB. */
  leastFreeMiB?: number;
}

const MIB = 1024 * 1024;
const LEAST_FREE_MIB = 256;
const DRAFTS = 'drafts';

/** Folders of snapshots by an id: each is there whole, or not at all. What an agent that died has left half is removed at start. */
export class SnapshotFolders {
  readonly #begun = new Set<string>();
  #removed = 0;

  constructor(private readonly parts: SnapshotFoldersParts) {
    rmSync(join(parts.directory, DRAFTS), { recursive: true, force: true });
    mkdirSync(join(parts.directory, DRAFTS), { recursive: true, mode: 0o700 });
  }

  pathOf(id: string): string {
    return join(this.parts.directory, id);
  }

  /** Those that are whole. */
  list(): string[] {
    return readdirSync(this.parts.directory).filter((name) => /^[0-9a-z]{26}$/.test(name));
  }

  /** Those that are being written. */
  get begun(): readonly string[] {
    return [...this.#begun];
  }

  /** An empty folder that is none yet. `bytes`: what may be written into it at most. @throws SnapshotStorageError */
  async begin(id: string, bytes: number): Promise<string> {
    const { directory, leastFreeMiB = LEAST_FREE_MIB } = this.parts;
    const { bavail, bsize } = statfsSync(directory);
    const freeMiB = Math.floor((bavail * bsize) / MIB);
    const neededMiB = Math.ceil(bytes / MIB);
    if (freeMiB - neededMiB < leastFreeMiB) {
      throw new SnapshotStorageError(
        `the disk of this host has no room for its snapshot: ${freeMiB} MiB are free, it may take ${neededMiB} MiB, and ${leastFreeMiB} MiB are kept`,
      );
    }
    const draft = this.#draftOf(id);
    await rm(draft, { recursive: true, force: true });
    await mkdir(draft, { mode: 0o700 });
    this.#begun.add(id);
    return draft;
  }

  /** What was begun is whole from now on, in place of what was there. */
  async keep(id: string): Promise<string> {
    const path = this.pathOf(id);
    await syncFolder(this.#draftOf(id));
    await this.remove(id);
    await rename(this.#draftOf(id), path);
    await syncFolder(this.parts.directory);
    this.#begun.delete(id);
    return path;
  }

  async abandon(id: string): Promise<void> {
    await rm(this.#draftOf(id), { recursive: true, force: true });
    this.#begun.delete(id);
  }

  /** Gone at once, before the next of this id can come. Who has its files open or mapped keeps them. */
  async remove(id: string): Promise<void> {
    const leaving = join(this.parts.directory, DRAFTS, `${id}.${++this.#removed}`);
    try {
      renameSync(this.pathOf(id), leaving);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
      throw error;
    }
    await rm(leaving, { recursive: true, force: true });
  }

  #draftOf(id: string): string {
    return join(this.parts.directory, DRAFTS, id);
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
