import fc from 'fast-check';
import { decodeSerial } from './decode-serial';

const chunk = (bytes: Uint8Array, from = 0, ended = false) => ({ bytes, from, to: from + bytes.length, ended });

describe('decodeSerial', () => {
  it('replaces what is not UTF-8', () => {
    expect(decodeSerial(chunk(Uint8Array.of(0x61, 0xff, 0xc0, 0x62)))).toEqual({
      text: 'a\ufffd\ufffdb',
      from: 0,
      to: 4,
    });
  });

  it('keeps a byte order mark: it is the guest that printed it', () => {
    expect(decodeSerial(chunk(Buffer.from('\ufeffx'))).text).toBe('\ufeffx');
  });

  it('leaves an unfinished character for the next read, unless nothing will follow', () => {
    const bytes = Buffer.from('ab€').subarray(0, 4);
    expect(decodeSerial(chunk(bytes))).toEqual({ text: 'ab', from: 0, to: 2 });
    expect(decodeSerial(chunk(bytes, 0, true))).toEqual({ text: 'ab\ufffd', from: 0, to: 4 });
  });

  it('skips the rest of a character whose beginning is lost', () => {
    const bytes = Buffer.from('€b').subarray(1);
    expect(decodeSerial(chunk(bytes, 10))).toEqual({ text: 'b', from: 12, to: 13 });
    expect(decodeSerial(chunk(bytes, 10), 10).text).toBe('\ufffd\ufffdb');
  });

  it('gives the same text however a reader cuts it', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), fc.array(fc.integer({ min: 4, max: 9 })), (text, sizes) => {
        const bytes = Buffer.from(text);
        let since = 0;
        let read = '';
        for (let turn = 0; since < bytes.length; turn++) {
          const to = Math.min(since + (sizes[turn % (sizes.length || 1)] ?? 4), bytes.length);
          const part = decodeSerial(
            { bytes: bytes.subarray(since, to), from: since, to, ended: to === bytes.length },
            since,
          );
          expect(part.to).toBeGreaterThan(since);
          read += part.text;
          since = part.to;
        }
        expect(read).toBe(bytes.toString());
      }),
    );
  });
});
