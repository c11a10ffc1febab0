/** One file of an archive: an initial ram disk in the kernel's `newc` format. */
export interface CpioEntry {
  /** Relative to the root. */
  path: string;
  /** Type and permission bits, such as 0o100644 for a file or 0o040755 for a folder. */
  mode: number;
  /** Content of a file, target of a symbolic link. */
  content?: Uint8Array;
}

const FILE_TYPE = 0o170000;
const FOLDER = 0o040000;
const TRAILER = 'TRAILER!!!';

/**
 * Packs entries, in their order, into a `newc` archive that the kernel unpacks as (part of) its initial ram disk. Everything
 * belongs to root and dates from 1970, so that the same content is the same bytes. The length is a multiple of 4.
 */
export function cpioArchive(entries: readonly CpioEntry[]): Buffer {
  const parts = entries.flatMap(({ path, mode, content }, index) => entryBytes(index + 1, path, mode, content));
  parts.push(...entryBytes(0, TRAILER, 0, undefined));
  return Buffer.concat(parts);
}

function entryBytes(inode: number, path: string, mode: number, content: Uint8Array = Buffer.alloc(0)): Uint8Array[] {
  const name = Buffer.from(`${path}\0`, 'utf8');
  const links = (mode & FILE_TYPE) === FOLDER ? 2 : 1;
  // ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
  const fields = [inode, mode, 0, 0, links, 0, content.length, 0, 0, 0, 0, name.length, 0];
  const header = Buffer.from('070701' + fields.map((field) => field.toString(16).padStart(8, '0')).join(''), 'ascii');
  return [header, name, padding(header.length + name.length), content, padding(content.length)];
}

function padding(length: number): Buffer {
  return Buffer.alloc((4 - (length % 4)) % 4);
}
