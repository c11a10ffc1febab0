import fc from 'fast-check';
import { decodeEntry, encodeEntry, type GuestEntry } from './entry';
import { GuestProtocolError, GuestRequestError } from './errors';
import { encodeExec } from './exec';
import { encodeFrame, FrameDecoder, GUEST_FRAME_MAX } from './frame';

const frames = fc.array(
  fc.record({
    type: fc.integer({ min: 0, max: 255 }),
    body: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
  }),
  { maxLength: 8 },
);

/** Cuts bytes where the numbers say. */
function cut(bytes: Buffer, sizes: readonly number[]): Buffer[] {
  const parts: Buffer[] = [];
  let at = 0;
  for (let i = 0; at < bytes.length; i++) {
    const size = sizes[i % sizes.length]!;
    parts.push(bytes.subarray(at, at + size));
    at += size;
  }
  return parts;
}

describe('frames', () => {
  it('come out as they went in, however the bytes are cut', () => {
    fc.assert(
      fc.property(frames, fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1 }), (given, sizes) => {
        const decoder = new FrameDecoder();
        const bytes = Buffer.concat(given.map(({ type, body }) => encodeFrame(type, body)));
        expect(cut(bytes, sizes).flatMap((part) => decoder.push(part))).toEqual(given);
      }),
    );
  });

  it('are refused when they are too long, in either direction', () => {
    expect(() => encodeFrame(1, Buffer.alloc(GUEST_FRAME_MAX + 1))).toThrow(GuestRequestError);
    const header = Buffer.alloc(8);
    header.writeUInt32LE(GUEST_FRAME_MAX + 1);
    expect(() => new FrameDecoder().push(header)).toThrow(GuestProtocolError);
  });

  it('survive any bytes', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 64 })), (parts) => {
        const decoder = new FrameDecoder();
        try {
          for (const part of parts) decoder.push(part);
        } catch (error) {
          expect(error).toBeInstanceOf(GuestProtocolError);
        }
      }),
    );
  });
});

describe('entries', () => {
  const entry: fc.Arbitrary<GuestEntry> = fc.record({
    kind: fc.constantFrom('file', 'folder', 'symlink', 'link'),
    path: fc.string({ unit: 'grapheme', maxLength: 50 }),
    mode: fc.integer({ min: 0, max: 0o7777 }),
    uid: fc.nat(),
    gid: fc.nat(),
    size: fc.maxSafeNat(),
    modified: fc.integer({ min: 0, max: 8_000_000_000_000 }),
    target: fc.string({ unit: 'grapheme', maxLength: 50 }),
  });

  it('come out as they went in', () => {
    fc.assert(fc.property(entry, (given) => expect(decodeEntry(encodeEntry(given))).toEqual(given)));
  });

  it('that are broken are refused and nothing else', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
        try {
          decodeEntry(Buffer.from(bytes));
        } catch (error) {
          expect(error).toBeInstanceOf(GuestProtocolError);
        }
      }),
    );
  });
});

describe('exec requests', () => {
  it('hold their strings in order', () => {
    const body = encodeExec({ command: ['a', ''], env: ['X=1'], user: 'u', tty: { rows: 24, columns: 80 } });
    expect(body.toString('latin1', 16)).toBe('a\0\0X=1\0u\0\0');
    expect([body.readUInt32LE(0), body.readUInt16LE(4), body.readUInt16LE(6), body.readUInt32LE(8)]).toEqual([
      1, 24, 80, 2,
    ]);
  });

  it('do not hold NUL bytes', () => {
    expect(() => encodeExec({ command: ['a\0b'] })).toThrow(GuestRequestError);
  });
});
