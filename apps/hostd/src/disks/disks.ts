import {
  closeSync,
  existsSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  rmSync,
  statfsSync,
  statSync,
} from 'node:fs';
import { link, mkdir, open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { findTool, runTool } from '../network/tools';
import type { PlannedDisk } from './disk-plan';

/** Why a disk cannot be had. Its message goes into the microVM's history as it is. */
export class DiskError extends Error {
  override readonly name = 'DiskError';
}

/** A disk as the VMM gets it. */
export type DiskFiles =
  | { path: string; sizeBytes: number; readOnly: false }
  /** What is written goes to the overlay; the base never changes. */
  | { path: string; sizeBytes: number; readOnly: false; overlayPath: string };

export interface DisksParts {
  /** On a disk that survives a reboot. */
  directory: string;
  log: Logger;
  /** Free space below which nothing new is begun, MiB. */
  leastFreeMiB?: number;
}

const MIB = 1024 * 1024;
const LEAST_FREE_MIB = 256;
const MKFS_DEADLINE_MS = 120_000;

/**
 * The disks of microVMs: a folder for each microVM, kept from start to start and removed when it is erased. A formatted disk is an
 * overlay over a template that was formatted once for all disks of its size, so that no start has to. The template is linked
 * into the microVM's folder: it stays as long as one disk needs it, whatever becomes of the template itself.
 */
export class Disks {
  readonly #mkfs = findTool('mkfs.ext4');
  readonly #making = new Map<number, Promise<string>>();
  readonly #log: Logger;

  constructor(private readonly parts: DisksParts) {
    this.#log = parts.log;
  }

  /** Why formatted disks cannot be had here, if so. */
  get unformatted(): string | undefined {
    return this.#mkfs === undefined ? 'mkfs.ext4 is not installed (Debian package e2fsprogs)' : undefined;
  }

  folderOf(microvmId: string): string {
    return join(this.parts.directory, 'microvms', microvmId);
  }

  /** microVMs that have a folder here. */
  list(): string[] {
    try {
      return readdirSync(join(this.parts.directory, 'microvms')).filter((name) => /^[0-9a-z]+$/.test(name));
    } catch {
      return [];
    }
  }

  /** Whether a microVM has a disk of this name here. */
  has(microvmId: string, name: string): boolean {
    const file = join(this.folderOf(microvmId), name);
    return existsSync(`${file}.base`) || existsSync(`${file}.raw`);
  }

  /** An empty folder for the disks of a microVM, in place of what was there. */
  async begin(microvmId: string): Promise<string> {
    const folder = this.folderOf(microvmId);
    this.#requireSpace();
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder, { recursive: true, mode: 0o700 });
    return folder;
  }

  /** Makes a disk, or finds the one of an earlier start. @throws DiskError */
  async prepare(microvmId: string, disk: PlannedDisk): Promise<DiskFiles> {
    const folder = this.folderOf(microvmId);
    const { name, sizeMiB, formatted } = disk;
    const path = join(folder, `${name}.${formatted ? 'base' : 'raw'}`);
    const sizeBytes = sizeMiB * MIB;
    try {
      // Without going to another thread and back for each: on a busy host that takes a start longer than all of these do.
      const kept = sizeOf(path);
      if (kept === undefined) {
        this.#requireSpace();
        mkdirSync(folder, { recursive: true, mode: 0o700 });
        if (formatted) await this.#linkTemplate(sizeMiB, path);
        else makeSparseFile(path, sizeBytes);
      } else if (kept !== sizeBytes) {
        throw new DiskError(`it was made with ${kept / MIB} MiB, and ${sizeMiB} MiB are asked for`);
      }
      const file = { path, sizeBytes, readOnly: false as const };
      return formatted ? { ...file, overlayPath: join(folder, `${name}.overlay`) } : file;
    } catch (error) {
      throw asDiskError(disk, error);
    }
  }

  #requireSpace(): void {
    const { leastFreeMiB = LEAST_FREE_MIB, directory } = this.parts;
    const { bavail, bsize } = statfsSync(directory);
    const freeMiB = Math.floor((bavail * bsize) / MIB);
    if (freeMiB < leastFreeMiB) {
      throw new DiskError(
        `the disk of this host is full: ${freeMiB} MiB are free, ${leastFreeMiB} MiB are kept; free some in the host directory`,
      );
    }
  }

  async #linkTemplate(sizeMiB: number, path: string): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      const template = await this.template(sizeMiB);
      try {
        return await link(template, path);
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (code === 'EEXIST') return;
        // Used up, as file systems bound the links of a file, or just removed: make another one.
        if ((code !== 'EMLINK' && code !== 'ENOENT') || attempt > 0) throw error;
        await rm(template, { force: true });
      }
    }
  }

  /** An ext4 file system of this size that was never mounted; made when it is not there. @throws DiskError */
  template(sizeMiB: number): Promise<string> {
    const making = this.#making.get(sizeMiB);
    if (making) return making;
    const made = this.#makeTemplate(sizeMiB).finally(() => this.#making.delete(sizeMiB));
    this.#making.set(sizeMiB, made);
    return made;
  }

  async #makeTemplate(sizeMiB: number): Promise<string> {
    const folder = join(this.parts.directory, 'templates');
    const path = join(folder, `ext4-${sizeMiB}.img`);
    if (existsSync(path)) return path;
    if (this.#mkfs === undefined) throw new DiskError(this.unformatted!);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const unfinished = `${path}.new`;
    try {
      await rm(unfinished, { force: true });
      makeSparseFile(unfinished, sizeMiB * MIB);
      // Nothing is left for the guest to initialise: every block it wrote would be a block of its overlay.
      const extended = 'lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0';
      await runTool(this.#mkfs, ['-q', '-F', '-m', '0', '-E', extended, unfinished], { deadlineMs: MKFS_DEADLINE_MS });
      const file = await open(unfinished, 'r');
      await file.sync();
      await file.close();
      await rename(unfinished, path);
      this.#log.info({ sizeMiB }, 'a disk was formatted, for all disks of its size');
      return path;
    } catch (error) {
      await rm(unfinished, { force: true });
      throw error;
    }
  }

  /** Makes a template ahead of need; that it cannot be made is told to whoever needs it. */
  warm(sizeMiB: number): void {
    if (this.#mkfs === undefined) return;
    this.template(sizeMiB).catch((error: unknown) =>
      this.#log.warn({ err: error, sizeMiB }, 'no disk could be formatted'),
    );
  }

  /** Removes all disks of a microVM. */
  async remove(microvmId: string): Promise<void> {
    await rm(this.folderOf(microvmId), { recursive: true, force: true });
  }
}

function makeSparseFile(path: string, bytes: number): void {
  const file = openSync(path, 'wx', 0o600);
  try {
    ftruncateSync(file, bytes);
  } catch (error) {
    rmSync(path, { force: true });
    throw error;
  } finally {
    closeSync(file);
  }
}

function sizeOf(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.size;
}

const SENTENCES: Record<string, string> = {
  ENOSPC: 'the disk of this host is full; free some in the host directory',
  EDQUOT: 'the quota of the host directory is used up',
  EFBIG: 'the file system of this host does not take files of that size',
  EROFS: 'the file system of the host directory is read-only; it may be damaged',
};

function asDiskError({ name, sizeMiB }: PlannedDisk, error: unknown): DiskError {
  const { code, message } = error as NodeJS.ErrnoException;
  const why = error instanceof DiskError ? message : ((code && SENTENCES[code]) ?? message);
  return new DiskError(`${name} of ${sizeMiB} MiB could not be made ready: ${why}`);
}
