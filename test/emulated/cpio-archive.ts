import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';

/** One entry of an initial ram file system. Paths are absolute inside it; missing parent folders are made. */
export type ArchiveEntry = ArchiveFile | ArchiveLink | ArchiveFolder | ArchiveDevice;

/** A regular file, either copied `from` a file of this machine or with the given `content`. */
export type ArchiveFile = {
  readonly path: string;
  /** Permission bits; 0o644 unless told. */
  readonly mode?: number;
} & ({ readonly from: string } | { readonly content: string | Uint8Array });

export interface ArchiveLink {
  readonly path: string;
  readonly linkTo: string;
}

export interface ArchiveFolder {
  readonly path: string;
  readonly folder: true;
}

export interface ArchiveDevice {
  readonly path: string;
  readonly characterDevice: { readonly major: number; readonly minor: number };
}

const FILE = 0o100000;
const FOLDER = 0o040000;
const LINK = 0o120000;
const CHARACTER_DEVICE = 0o020000;

/**
 * Writes an archive in the "newc" cpio format that the Linux kernel unpacks as initial ram file system. Everything in
 * it belongs to root and carries no time, so the same entries give the same bytes and no privilege is needed to put
 * device nodes into it. Files are copied one at a time, so an archive may be larger than what fits into memory twice.
 *
 * Throws what the file system throws when `target` cannot be written or a file named by `from` cannot be read.
 */
export function writeCpioArchive(target: string, entries: readonly ArchiveEntry[]): void {
  const descriptor = openSync(target, 'w', 0o600);
  try {
    let inode = 0;
    const write = (path: string, mode: number, data: Uint8Array, device = { major: 0, minor: 0 }): void => {
      inode += 1;
      for (const part of member(path.replace(/^\/+/, ''), inode, mode, data, device)) writeFully(descriptor, part);
    };

    const folders = new Set<string>();
    for (const entry of entries) {
      for (const parent of parentsOf(entry.path)) {
        if (!folders.has(parent)) write(parent, FOLDER | 0o755, NOTHING);
        folders.add(parent);
      }
      if ('folder' in entry) {
        if (!folders.has(entry.path)) write(entry.path, FOLDER | 0o755, NOTHING);
        folders.add(entry.path);
      } else if ('linkTo' in entry) {
        write(entry.path, LINK | 0o777, Buffer.from(entry.linkTo));
      } else if ('characterDevice' in entry) {
        write(entry.path, CHARACTER_DEVICE | 0o600, NOTHING, entry.characterDevice);
      } else {
        const data = 'from' in entry ? readFileSync(entry.from) : Buffer.from(entry.content);
        write(entry.path, FILE | (entry.mode ?? 0o644), data);
      }
    }
    write('TRAILER!!!', 0, NOTHING);
  } finally {
    closeSync(descriptor);
  }
}

const NOTHING = new Uint8Array(0);

/** `/a/b/c` -> [`/a`, `/a/b`]: the folders the kernel needs to have seen before the entry itself. */
function parentsOf(path: string): string[] {
  const parts = path.split('/').filter((part) => part !== '');
  return parts.slice(0, -1).map((_, index) => `/${parts.slice(0, index + 1).join('/')}`);
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
