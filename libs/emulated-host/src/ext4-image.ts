import { execFile } from 'node:child_process';
import {
  closeSync,
  constants,
  copyFileSync,
  chmodSync,
  existsSync,
  ftruncateSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import type { ArchiveEntry } from '#cpio';
import { EmulatedHostError } from './errors';
import { findProgram } from './find-program';

const MKFS_MS = 300_000;
const BLOCK = 4_096;
const MIB = 1 << 20;

/**
 * Writes an ext4 file system that is as large as what is in it, for reading only. Needs no privilege: nothing is
 * mounted. `finish` may add to the folder from which it is made.
 *
 * Rejects with {@link EmulatedHostError} when `mkfs.ext4` is missing or fails; leaves no file behind then.
 */
export async function writeExt4Image(
  target: string,
  entries: readonly ArchiveEntry[],
  finish: (folder: string) => Promise<void> = async () => undefined,
): Promise<void> {
  mkdirSync(dirname(target), { recursive: true });
  const folder = mkdtempSync(`${target}.`);
  try {
    const root = join(folder, 'root');
    mkdirSync(root);
    const bytes = layOut(root, entries);
    await finish(root);
    const draft = join(folder, 'image');
    // Inodes of 256 bytes, block bitmaps and some room for folders; what is never written takes no room on this machine.
    const sizeMiB = Math.ceil((bytes + entries.length * (BLOCK + 512)) / MIB) + 48;
    makeSparse(draft, sizeMiB);
    const features = '^has_journal,^resize_inode';
    await mkfs(draft, ['-O', features, '-m', '0', '-N', String(entries.length * 2 + 4_096), '-d', root]);
    renameSync(draft, target);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Makes an empty ext4 file system to write to, sparse: it takes as much room as is written to it. Keeps one that is there. */
export async function makeExt4Disk(path: string, sizeMiB: number): Promise<void> {
  if (existsSync(path)) return;
  const draft = `${path}.${process.pid}.new`;
  try {
    makeSparse(draft, sizeMiB);
    await mkfs(draft, ['-m', '0', '-E', 'lazy_itable_init=1,lazy_journal_init=1']);
    renameSync(draft, path);
  } finally {
    rmSync(draft, { force: true });
  }
}

/** Gives the bytes that it needs, in whole blocks. */
function layOut(root: string, entries: readonly ArchiveEntry[]): number {
  let bytes = 0;
  for (const entry of entries) {
    const path = join(root, entry.path);
    mkdirSync('folder' in entry ? path : dirname(path), { recursive: true });
    if ('folder' in entry) {
      if (entry.mode !== undefined) chmodSync(path, entry.mode);
      continue;
    }
    if ('characterDevice' in entry) throw new EmulatedHostError(`${entry.path}: no device nodes in a disk image`);
    rmSync(path, { force: true }); // the last one counts
    if ('linkTo' in entry) {
      symlinkSync(entry.linkTo, path);
      continue;
    }
    if ('from' in entry) copyFileSync(entry.from, path, constants.COPYFILE_FICLONE);
    else writeFileSync(path, entry.content);
    chmodSync(path, entry.mode ?? 0o644);
    bytes += Math.ceil(statSync(path).size / BLOCK) * BLOCK;
  }
  return bytes;
}

function makeSparse(path: string, sizeMiB: number): void {
  const descriptor = openSync(path, 'wx', 0o600);
  try {
    ftruncateSync(descriptor, sizeMiB * MIB);
  } finally {
    closeSync(descriptor);
  }
}

async function mkfs(path: string, argv: readonly string[]): Promise<void> {
  const program = findProgram('mkfs.ext4');
  if (program === undefined) {
    throw new EmulatedHostError('mkfs.ext4 is missing; install the Debian package e2fsprogs');
  }
  try {
    await promisify(execFile)(program, ['-q', '-F', '-b', String(BLOCK), ...argv, path], { timeout: MKFS_MS });
  } catch (cause) {
    const { stderr, message } = cause as { stderr?: string; message: string };
    throw new EmulatedHostError(`mkfs.ext4 could not make ${path}: ${stderr?.trim() || message}`);
  }
}
