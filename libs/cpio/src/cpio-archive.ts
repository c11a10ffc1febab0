import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import type { ArchiveEntry } from './entries';

const FILE = 0o100000;
const FOLDER = 0o040000;
const LINK = 0o120000;
const CHARACTER_DEVICE = 0o020000;
/** Everything that writes such archives fills them up to this, so that another can follow. */
const BLOCK_BYTES = 512;
/** Sizes are eight hexadecimal digits. */
const LARGEST_FILE = 0xffff_ffff;

/**
 * Thrown by {@link cpioArchive} and {@link writeCpioArchive} for entries that no archive can hold: a path that is not
 * absolute or has `..` in it, a file of 4 GiB or more.
 */
export class ArchiveEntryError extends Error {
  override readonly name = 'ArchiveEntryError';
}

/**
 * Writes an archive in the "newc" cpio format that the Linux kernel unpacks as initial ram file system. Everything in
 * it belongs to root and carries no time, so the same entries give the same bytes and no privilege is needed to put
 * device nodes into it. Files are copied one at a time, so an archive may be larger than what fits into memory twice.
 *
 * Throws {@link ArchiveEntryError}, or what the file system throws when `target` cannot be written or a file named by
 * `from` cannot be read.
 */
export function writeCpioArchive(target: string, entries: readonly ArchiveEntry[]): void {
  const descriptor = openSync(target, 'w', 0o600);
  try {
    for (const part of archiveParts(entries)) writeFully(descriptor, part);
  } finally {
    closeSync(descriptor);
  }
}

/** The same archive in memory: for a few small files, such as one that follows a kernel's other archives. */
export function cpioArchive(entries: readonly ArchiveEntry[]): Buffer {
  return Buffer.concat([...archiveParts(entries)]);
}

function* archiveParts(entries: readonly ArchiveEntry[]): Generator<Uint8Array> {
  let inode = 0;
  let length = 0;
  function* put(path: string, mode: number, data: Uint8Array, device = { major: 0, minor: 0 }): Generator<Uint8Array> {
    inode += 1;
    for (const part of member(path, inode, mode, data, device)) {
      length += part.length;
      yield part;
    }
  }

  const folders = new Set<string>();
  for (const entry of entries) {
    const { name, parents } = placeOf(entry.path);
    for (const parent of parents) {
      if (!folders.has(parent)) yield* put(parent, FOLDER | 0o755, NOTHING);
      folders.add(parent);
    }
    if ('folder' in entry) {
      if (!folders.has(name)) yield* put(name, FOLDER | (entry.mode ?? 0o755), NOTHING);
      folders.add(name);
    } else if ('linkTo' in entry) {
      yield* put(name, LINK | 0o777, Buffer.from(entry.linkTo));
    } else if ('characterDevice' in entry) {
      yield* put(name, CHARACTER_DEVICE | 0o600, NOTHING, entry.characterDevice);
    } else {
      const data = 'from' in entry ? readFileSync(entry.from) : Buffer.from(entry.content);
      if (data.length > LARGEST_FILE) throw new ArchiveEntryError(`${entry.path} is too large for a cpio archive`);
      yield* put(name, FILE | (entry.mode ?? 0o644), data);
    }
  }
  yield* put('TRAILER!!!', 0, NOTHING);
  yield new Uint8Array((BLOCK_BYTES - (length % BLOCK_BYTES)) % BLOCK_BYTES);
}

const NOTHING = new Uint8Array(0);

/** `/a/b/c` -> `a/b/c`, and `a`, `a/b`: the folders the kernel needs to have seen before the entry itself. */
function placeOf(path: string): { name: string; parents: string[] } {
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  if (!path.startsWith('/') || parts.length === 0 || parts.includes('..') || path.includes('\0')) {
    throw new ArchiveEntryError(`${JSON.stringify(path)} is not an absolute path of something in an archive`);
  }
  const upTo = (count: number): string => parts.slice(0, count).join('/');
  return { name: parts.join('/'), parents: parts.slice(0, -1).map((_, index) => upTo(index + 1)) };
}

function member(
  name: string,
  inode: number,
  mode: number,
  data: Uint8Array,
  device: { readonly major: number; readonly minor: number },
): Uint8Array[] {
  const encodedName = Buffer.from(`${name}\0`);
  const links = 1;
  const fields = [
    inode,
    mode,
    0, // uid
    0, // gid
    links,
    0, // modification time
    data.length,
    0, // device the archive was made on
    0,
    device.major,
    device.minor,
    encodedName.length,
    0, // checksum, unused by this format
  ];
  const header = Buffer.from(`070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`);
  const head = Buffer.concat([header, encodedName]);
  return [head, padding(head.length), data, padding(data.length)];
}

/** Header plus name, and data, are each filled up to a multiple of four bytes. */
function padding(length: number): Uint8Array {
  return new Uint8Array((4 - (length % 4)) % 4);
}

function writeFully(descriptor: number, data: Uint8Array): void {
  let written = 0;
  while (written < data.length) written += writeSync(descriptor, data, written);
}
