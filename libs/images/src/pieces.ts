import { open, type FileHandle } from 'node:fs/promises';
import { PIECE_BYTES } from '#protocol';
import { digestOf } from './digest';
import { ImageError } from './errors';

const DIGEST_BYTES = 32;
const PAGE_BYTES = 4_096;
const ZEROS = Buffer.alloc(PIECE_BYTES);
/** Pieces that one table tells of. */
const TABLE_ENTRIES = PIECE_BYTES / DIGEST_BYTES;

export interface Piece {
  index: number;
  /** Valid until the next piece is asked for. */
  content: Buffer;
  /** Undefined: it is all zeros, which nobody stores. */
  digest: string | undefined;
}

/** The pieces of a file in order. Throws what the file system says. */
export async function* piecesOf(path: string, signal?: AbortSignal): AsyncGenerator<Piece> {
  const file = await open(path, 'r');
  try {
    const buffer = Buffer.alloc(PIECE_BYTES);
    for (let index = 0; ; index++) {
      signal?.throwIfAborted();
      const length = await readFully(file, buffer, index * PIECE_BYTES);
      if (length === 0) return;
      const content = buffer.subarray(0, length);
      const isHole = content.equals(length === PIECE_BYTES ? ZEROS : ZEROS.subarray(0, length));
      yield { index, content, digest: isHole ? undefined : digestOf(content) };
      if (length < PIECE_BYTES) return;
    }
  } finally {
    await file.close();
  }
}

/** Writes a piece into a file of holes; what is zeros in it stays a hole. */
export async function writePiece(file: FileHandle, content: Buffer, position: number): Promise<void> {
  const isZeros = (at: number): boolean => {
    const page = content.subarray(at, at + PAGE_BYTES);
    return page.equals(ZEROS.subarray(0, page.length));
  };
  for (let at = 0; at < content.length;) {
    const begin = at;
    while (at < content.length && !isZeros(at)) at += PAGE_BYTES;
    const end = Math.min(at, content.length);
    if (end > begin) await file.write(content, begin, end - begin, position + begin);
    else at += PAGE_BYTES;
  }
}

/** Tables of pieces: the digests in order, undefined for a hole. Each table is a piece itself. */
export function tablesOf(digests: readonly (string | undefined)[]): Buffer[] {
  const tables: Buffer[] = [];
  for (let from = 0; from < digests.length; from += TABLE_ENTRIES) {
    const entries = digests.slice(from, from + TABLE_ENTRIES);
    const table = Buffer.alloc(entries.length * DIGEST_BYTES);
    entries.forEach((digest, i) => {
      if (digest !== undefined) table.write(digest.slice('sha256:'.length), i * DIGEST_BYTES, 'hex');
    });
    tables.push(table);
  }
  return tables;
}

/** What a table says. @throws ImageError `corrupted` */
export function entriesOf(table: Buffer): (string | undefined)[] {
  if (table.length % DIGEST_BYTES !== 0) throw new ImageError('corrupted', 'a table of pieces is cut off');
  return Array.from({ length: table.length / DIGEST_BYTES }, (_, i) => {
    const entry = table.subarray(i * DIGEST_BYTES, (i + 1) * DIGEST_BYTES);
    return entry.equals(ZEROS.subarray(0, DIGEST_BYTES)) ? undefined : `sha256:${entry.toString('hex')}`;
  });
}

async function readFully(file: FileHandle, buffer: Buffer, position: number): Promise<number> {
  let done = 0;
  while (done < buffer.length) {
    const { bytesRead } = await file.read(buffer, done, buffer.length - done, position + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return done;
}
