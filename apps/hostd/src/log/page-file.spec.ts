import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import {
  SERIAL_OFFSET,
  SERIAL_RING,
  serialBytesOffset,
  STATS_ABI_VERSION,
  statsAbiVersionOffset,
} from '../recovery/vmm-abi';
import { readLeftSerial, serialOf } from './page-file';

/** What a VMM does with its output. */
function ringOf(output: string, size: number): Buffer {
  const ring = Buffer.alloc(size);
  for (let i = 0; i < output.length; i++) ring[i % size] = output.charCodeAt(i);
  return ring;
}

describe('the console a microVM left', () => {
  it('is the part of the output that was asked for, as far as the ring still holds it', () => {
    const letters = fc.string({ unit: fc.constantFrom('a', 'b', 'c', '\n'), maxLength: 60 });
    const since = fc.option(fc.nat(80), { nil: undefined });
    fc.assert(
      fc.property(
        letters,
        fc.integer({ min: 1, max: 20 }),
        fc.integer({ min: 1, max: 30 }),
        since,
        (output, size, max, from) => {
          const read = serialOf(ringOf(output, size), output.length, max, from);
          expect(read.text).toBe(output.slice(read.from, read.to));
          expect(read.to - read.from).toBeLessThanOrEqual(Math.min(max, size));
          expect(read.to).toBeLessThanOrEqual(output.length);
          if (from === undefined) expect(read.to).toBe(output.length);
          else if (from >= output.length - size && from <= output.length) expect(read.from).toBe(from);
        },
      ),
    );
  });

  it('is read from its page file, if that is one we know', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'volley-pages-'));
    try {
      expect(await readLeftSerial(folder, 100, undefined)).toBeUndefined();
      const page = Buffer.alloc(SERIAL_OFFSET + SERIAL_RING);
      page.writeUInt32LE(STATS_ABI_VERSION, statsAbiVersionOffset);
      page.writeBigUInt64LE(5n, serialBytesOffset);
      page.write('hello', SERIAL_OFFSET);
      writeFileSync(join(folder, 'pages'), page);
      expect(await readLeftSerial(folder, 100, undefined)).toEqual({ text: 'hello', from: 0, to: 5 });
      page.writeUInt32LE(STATS_ABI_VERSION + 1, statsAbiVersionOffset);
      writeFileSync(join(folder, 'pages'), page);
      expect(await readLeftSerial(folder, 100, undefined)).toBeUndefined();
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
