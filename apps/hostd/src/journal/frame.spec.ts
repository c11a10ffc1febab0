import fc from 'fast-check';
import { countFramesBehind, decodeFrames, encodeFrame } from './frame';

const anyRecord = fc
  .dictionary(fc.string(), fc.jsonValue())
  .map((value) => JSON.parse(JSON.stringify(value)) as unknown);

describe('frames', () => {
  it('come back as they were', () => {
    fc.assert(
      fc.property(fc.array(anyRecord), (records) => {
        const data = Buffer.concat(records.map(encodeFrame));
        expect(decodeFrames(data)).toEqual({ records, goodBytes: data.length });
      }),
    );
  });

  it('are whole or not there, wherever the file ends', () => {
    const records = [{ a: 1 }, { text: 'zwei ü ☃' }, { c: [1, 2, { d: 'line\nbreak' }] }];
    const frames = records.map(encodeFrame);
    const data = Buffer.concat(frames);
    const ends = frames.map((_, i) => Buffer.concat(frames.slice(0, i + 1)).length);
    for (let length = 0; length <= data.length; length++) {
      const whole = ends.filter((end) => end <= length).length;
      const decoded = decodeFrames(data.subarray(0, length));
      expect(decoded.records).toEqual(records.slice(0, whole));
      expect(decoded.goodBytes).toBe(whole === 0 ? 0 : ends[whole - 1]);
      expect(countFramesBehind(data.subarray(0, length), decoded.goodBytes)).toBe(0);
    }
  });

  it('show every damaged byte', () => {
    const frame = encodeFrame({ microvmId: 'x', epoch: 3 });
    const next = encodeFrame({ next: true });
    for (let at = 0; at < frame.length; at++) {
      const data = Buffer.concat([frame, next]);
      data[at] = data[at]! ^ 0x01;
      const decoded = decodeFrames(data);
      expect(decoded.records).toEqual([]);
      expect(decoded.goodBytes).toBe(0);
      if (at < frame.length - 1) expect(countFramesBehind(data, 0)).toBe(1);
    }
  });
});
