import { crc32 } from 'node:zlib';

/**
 * One record of the host's journal as a line: length and CRC-32 of the JSON text in hexadecimal, then the text. The line can
 * be read with any pager; the numbers tell a whole record from one that was cut off or damaged.
 */
const HEADER_BYTES = 18; // 'llllllll cccccccc '
const NEWLINE = 0x0a;

export function encodeFrame(record: unknown): Buffer {
  const text = Buffer.from(JSON.stringify(record), 'utf8');
  const header = `${hex8(text.length)} ${hex8(crc32(text))} `;
  return Buffer.concat([Buffer.from(header, 'latin1'), text, Buffer.from('\n')]);
}

export interface DecodedFrames {
  records: unknown[];
  /** Bytes from the start that hold whole, undamaged records. What follows is torn or damaged. */
  goodBytes: number;
}

/** Decodes records up to the first that is not whole. */
export function decodeFrames(data: Buffer): DecodedFrames {
  const records: unknown[] = [];
  let at = 0;
  for (;;) {
    const next = decodeFrameAt(data, at);
    if (!next) return { records, goodBytes: at };
    records.push(next.record);
    at = next.end;
  }
}

/** How many whole records lie behind `from`, not counting damaged ones: 0 after an ordinary torn tail. */
export function countFramesBehind(data: Buffer, from: number): number {
  let count = 0;
  for (let at = data.indexOf(NEWLINE, from) + 1; at > 0;) {
    const next = decodeFrameAt(data, at);
    if (next) count++;
    at = next ? next.end : data.indexOf(NEWLINE, at) + 1;
    if (at >= data.length) break;
  }
  return count;
}

function decodeFrameAt(data: Buffer, at: number): { record: unknown; end: number } | undefined {
  const header = data.toString('latin1', at, at + HEADER_BYTES);
  if (!/^[0-9a-f]{8} [0-9a-f]{8} $/.test(header)) return undefined;
  const length = parseInt(header.slice(0, 8), 16);
  const start = at + HEADER_BYTES;
  const end = start + length;
  if (end >= data.length || data[end] !== NEWLINE) return undefined;
  const text = data.subarray(start, end);
  if (crc32(text) !== parseInt(header.slice(9, 17), 16)) return undefined;
  try {
    return { record: JSON.parse(text.toString('utf8')) as unknown, end: end + 1 };
  } catch {
    return undefined; // whole, but never written by us
  }
}

function hex8(value: number): string {
  return value.toString(16).padStart(8, '0');
}
