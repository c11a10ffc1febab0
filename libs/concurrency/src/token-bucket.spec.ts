import fc from 'fast-check';
import { TokenBucket } from './token-bucket';

describe('TokenBucket', () => {
  it('lets a burst through, then one at a time, and says when', () => {
    const bucket = new TokenBucket(2, 0);
    expect([bucket.take(0), bucket.take(0)]).toEqual([0, 0]);
    expect(bucket.take(0)).toBe(500);
    expect(bucket.take(499)).toBe(1);
    expect(bucket.take(500)).toBe(0);
  });

  it('lets one through even when the rate is less than one per second', () => {
    const bucket = new TokenBucket(0.1, 0);
    expect(bucket.take(0)).toBe(0);
    expect(bucket.take(0)).toBe(10_000);
    expect(bucket.take(10_000)).toBe(0);
  });

  it('never lets more through than burst and rate allow, and always as soon as it said', () => {
    const steps = fc.array(fc.integer({ min: 0, max: 700 }), { minLength: 1, maxLength: 200 });
    fc.assert(
      fc.property(fc.double({ min: 0.5, max: 50, noNaN: true }), steps, (perSecond, gaps) => {
        const bucket = new TokenBucket(perSecond, 0);
        let now = 0;
        let taken = 0;
        for (const gap of gaps) {
          now += gap;
          const wait = bucket.take(now);
          if (wait === 0) taken++;
          expect(taken).toBeLessThanOrEqual(Math.max(1, perSecond) + (now * perSecond) / 1_000 + 1e-6);
          if (wait > 0) {
            now += wait;
            expect(bucket.take(now)).toBe(0);
            taken++;
          }
        }
      }),
    );
  });
});
