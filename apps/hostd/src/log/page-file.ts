import { open } from 'node:fs/promises';
import { join } from 'node:path';
import type { SerialRead } from '#microvm';
import {
  SERIAL_OFFSET,
  SERIAL_RING,
  serialBytesOffset,
  STATS_ABI_VERSION,
  statsAbiVersionOffset,
} from '../recovery/vmm-abi';

/** Reads the serial console of a microVM whose process is gone from the page file it left. Undefined when there is none. */
export async function readLeftSerial(
  directory: string,
  maxBytes: number,
  since: number | undefined,
): Promise<SerialRead | undefined> {
  const file = await open(join(directory, 'pages'), 'r').catch(() => undefined);
  if (!file) return undefined;
  try {
    const page = Buffer.alloc(SERIAL_OFFSET + SERIAL_RING);
    const { bytesRead } = await file.read(page, 0, page.length, 0);
    if (bytesRead < page.length || page.readUInt32LE(statsAbiVersionOffset) !== STATS_ABI_VERSION) return undefined;
    return serialOf(page.subarray(SERIAL_OFFSET), Number(page.readBigUInt64LE(serialBytesOffset)), maxBytes, since);
  } finally {
    await file.close();
  }
}

/** The bytes [from, to) of an output of `total` bytes, of which the ring holds the last ones. */
export function serialOf(ring: Buffer, total: number, maxBytes: number, since: number | undefined): SerialRead {
  const oldest = Math.max(0, total - ring.length);
  const from = since === undefined ? Math.max(oldest, total - maxBytes) : Math.min(total, Math.max(oldest, since));
  const to = Math.min(total, from + maxBytes);
  const begin = from % ring.length;
  const first = ring.subarray(begin, Math.min(ring.length, begin + (to - from)));
  const rest = ring.subarray(0, to - from - first.length);
  return { text: Buffer.concat([first, rest]).toString('utf8'), from, to };
}
