import fc from 'fast-check';
import { coresUsed, marginalCostKiB, percentile, waitPercent } from './formulas';

describe('percentile', () => {
  it('is the nearest rank', () => {
    expect(percentile([], 99)).toBe(0);
    expect(percentile([5], 50)).toBe(5);
    expect(percentile([4, 1, 3, 2], 50)).toBe(2);
    expect(percentile([4, 1, 3, 2], 99)).toBe(4);
    expect(percentile([10, 9], 0)).toBe(9);
  });

  it('has at least the stated share at or below it, and less with any smaller value', () => {
    fc.assert(
      fc.property(fc.array(fc.integer(), { minLength: 1 }), fc.integer({ min: 1, max: 100 }), (values, percent) => {
        const value = percentile(values, percent);
        const share = (limit: (x: number) => boolean): number => (100 * values.filter(limit).length) / values.length;
        expect(share((x) => x <= value)).toBeGreaterThanOrEqual(percent - 1e-9);
        expect(share((x) => x < value)).toBeLessThan(percent + 1e-9);
      }),
    );
  });
});

describe('CPU', () => {
  it('measures waiting against wanting', () => {
    expect(waitPercent(75, 25)).toBe(25);
    expect(waitPercent(0, 0)).toBe(0);
  });

  it('measures use as cores', () => {
    expect(coresUsed(1500, 1000)).toBe(1.5);
    expect(coresUsed(10, 0)).toBe(0);
  });
});

describe('marginal cost', () => {
  it('is the slope beyond guest pages', () => {
    const points = [0, 10, 20, 50].map((n) => ({ microvms: n, hostUsedKiB: 5_000 + n * (800 + 64), guestKiB: n * 64 }));
    expect(marginalCostKiB(points)).toBeCloseTo(800, 6);
    expect(marginalCostKiB(points.slice(0, 1))).toBeUndefined();
  });
});
