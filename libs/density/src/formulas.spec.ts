import fc from 'fast-check';
import {
  commitmentOf,
  coresUsed,
  headroomOf,
  marginalCostKiB,
  overcommitRatio,
  percentile,
  promisable,
  waitPercent,
  type Capacity,
} from './formulas';

const host: Capacity = {
  slots: 100,
  cpus: 2,
  memoryMiB: 24_000,
  reserveMiB: 4_000,
  overcommit: { cpu: 10, memory: 1.5 },
};

describe('commitment and overcommit', () => {
  it('promises capacity less reserve times the limit', () => {
    expect(promisable(host)).toEqual({ vcpus: 20, memoryMiB: 30_000 });
  });

  it('takes the ratio over what is not reserved', () => {
    expect(overcommitRatio(30_000, 24_000, 4_000)).toBe(1.5);
    expect(overcommitRatio(0, 0)).toBe(0);
    expect(overcommitRatio(1, 4, 4)).toBe(Infinity);
  });

  it('counts how many more of the mean size fit', () => {
    const commitment = commitmentOf([
      { vcpus: 1, memoryMiB: 5_000 },
      { vcpus: 3, memoryMiB: 15_000 },
    ]);
    expect(headroomOf(host, commitment, 2)).toEqual({ vcpus: 16, memoryMiB: 10_000, slots: 98, microvms: 1 });
  });

  it('assumes the usual size on an empty host', () => {
    expect(headroomOf(host, { vcpus: 0, memoryMiB: 0 }, 0).microvms).toBe(20);
  });

  it('never promises more than the limit by following its own headroom', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ vcpus: fc.integer({ min: 1, max: 32 }), memoryMiB: fc.integer({ min: 2, max: 9_000 }) })),
        (demands) => {
          const commitment = commitmentOf(demands);
          const room = headroomOf(host, commitment, demands.length);
          const most = promisable(host);
          expect(room.microvms).toBeGreaterThanOrEqual(0);
          if (room.microvms === 0) return;
          const grown = 1 + room.microvms / demands.length;
          if (demands.length === 0) return;
          expect(commitment.vcpus * grown).toBeLessThanOrEqual(most.vcpus + 1e-6);
          expect(commitment.memoryMiB * grown).toBeLessThanOrEqual(most.memoryMiB + 1e-6);
        },
      ),
    );
  });
});

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
