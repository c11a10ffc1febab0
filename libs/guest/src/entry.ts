import { GuestProtocolError } from './errors';

export const ENTRY_KINDS = { file: 1, folder: 2, symlink: 3, link: 4 } as const;
export type EntryKind = keyof typeof ENTRY_KINDS;

/** One thing that is copied into or out of a guest. */
export interface GuestEntry {
  kind: EntryKind;
  path: string;
  /** Permission bits. */
  mode: number;
  uid: number;
  gid: number;
  /** Of a file: bytes that follow. */
  size: number;
  /** s since 1970. */
  modified: number;
  /** Of a symbolic link: what it says. Of a link: the path of its file in the same exchange. */
  target: string;
}

const HEADER = 40;

export function encodeEntry(entry: GuestEntry): Buffer {
  const path = Buffer.from(entry.path, 'utf8');
  const target = Buffer.from(entry.target, 'utf8');
  const header = Buffer.alloc(HEADER);
  header.writeUInt32LE(ENTRY_KINDS[entry.kind], 0);
  header.writeUInt32LE(entry.mode & 0o7777, 4);
  header.writeUInt32LE(entry.uid, 8);
  header.writeUInt32LE(entry.gid, 12);
  header.writeBigUInt64LE(BigInt(entry.size), 16);
  header.writeBigUInt64LE(BigInt(Math.max(0, Math.floor(entry.modified))), 24);
  header.writeUInt32LE(path.length, 32);
  header.writeUInt32LE(target.length, 36);
  return Buffer.concat([header, path, target]);
}

/** @throws GuestProtocolError */
export function decodeEntry(body: Buffer): GuestEntry {
  if (body.length < HEADER) throw new GuestProtocolError('the guest sent an entry that is too short');
  const [pathLength, targetLength] = [body.readUInt32LE(32), body.readUInt32LE(36)];
  const kind = Object.entries(ENTRY_KINDS).find(([, number]) => number === body.readUInt32LE(0))?.[0];
  const size = body.readBigUInt64LE(16);
  if (kind === undefined || body.length !== HEADER + pathLength + targetLength || size > Number.MAX_SAFE_INTEGER) {
    throw new GuestProtocolError('the guest sent an entry that is broken');
  }
  const modified = body.readBigUInt64LE(24);
  return {
    kind: kind as EntryKind,
    path: body.toString('utf8', HEADER, HEADER + pathLength),
    mode: body.readUInt32LE(4) & 0o7777,
    uid: body.readUInt32LE(8),
    gid: body.readUInt32LE(12),
    size: Number(size),
    modified: modified > 8_000_000_000_000n ? 0 : Number(modified),
    target: body.toString('utf8', HEADER + pathLength),
  };
}
