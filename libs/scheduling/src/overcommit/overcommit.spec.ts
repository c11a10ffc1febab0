import fc from 'fast-check';
import { OversubscriptionPolicy } from '#protocol';
import { confidenceOf, derivedRatio, STEP, type WaitWindow } from './compliance-goal';
import { nSigmaShare, percentileSum, ratioBeside } from './predicted-peak';
import { ratioOf } from './ratio-in-force';
import { UsageHistory, type MicrovmUsage } from './usage-history';

describe('the predicted peak', () => {
  it('is mean and N standard deviations of what was used of what was promised, and never more than that', () => {
    const windows = [0.2, 0.4].map((share) => ({ committed: 10, used: share * 10 }));
    expect(nSigmaShare(windows, 0)).toBeCloseTo(0.3);
    expect(nSigmaShare(windows, 5)).toBeCloseTo(0.8);
    expect(nSigmaShare(windows, 50)).toBe(1);
    expect(nSigmaShare([{ committed: 0, used: 0 }], 5)).toBe(0);
  });

  it('is the sum of the percentiles of each, and all that was promised to one that was not seen', () => {
    const used = Array.from({ length: 100 }, (_, i) => i + 1);
    expect(percentileSum([{ promised: 200, used }], 99)).toBe(99);
    expect(
      percentileSum(
        [
          { promised: 50, used },
          { promised: 7, used: [] },
        ],
        99,
      ),
    ).toBe(57);
  });

  it('makes a ratio by which the next one fits exactly when it fits beside the peak', () => {
    const amount = fc.double({ min: 0.01, max: 1_000, noNaN: true });
    fc.assert(
      fc.property(
        amount,
        amount,
        amount,
        fc.double({ min: 0, max: 1, noNaN: true }),
        (capacity, committed, next, part) => {
          const peak = committed * part;
          const ratio = ratioBeside(peak, committed, capacity, Infinity);
          fc.pre(ratio > 1 && Math.abs(peak + next - capacity) > 1e-6);
          expect(committed + next <= capacity * ratio).toBe(peak + next <= capacity);
        },
      ),
    );
  });
});

describe('a ratio from a compliance goal', () => {
  const goal = { timePercent: 99, confidencePercent: 95, cpus: 2, most: 16 };
  const windows = (count: number, change: Partial<WaitWindow> = {}): WaitWindow[] =>
    Array.from({ length: count }, () => ({ vcpus: 8, wanted: 0.4, compliant: 0.4, ...change }));

  it('is 1 until enough was seen to be sure', () => {
    expect(derivedRatio([], goal)).toMatchObject({ ratio: 1, busiest: 0, windows: 0 });
    expect(derivedRatio(windows(100), goal)).toMatchObject({ ratio: 1, busiest: 0 });
  });

  it('is the load up to which it was kept over what a vCPU wants, and no big step beyond what was tried', () => {
    const { ratio, busiest, wantedPerVcpu, confidencePercent } = derivedRatio(windows(400), goal);
    expect([busiest, wantedPerVcpu]).toEqual([0.2, 0.05]);
    expect(confidencePercent).toBeGreaterThan(95);
    expect(ratio).toBe(4);
    const busier = [...windows(400), ...windows(400, { vcpus: 8, wanted: 1.2, compliant: 1.2 })];
    expect(derivedRatio(busier, goal).ratio).toBeLessThanOrEqual(4 * STEP);
  });

  it('counts load at which it was not kept as too much', () => {
    const mixed = [...windows(400), ...windows(400, { wanted: 1.6, compliant: 0.8 })];
    expect(derivedRatio(mixed, goal).busiest).toBe(0.2);
    expect(derivedRatio(windows(400, { compliant: 0 }), goal).ratio).toBe(1);
  });

  it('is more sure the more it saw, and never of what it did not see', () => {
    expect(confidenceOf(1, 10, 0.999)).toBeLessThan(0.6);
    expect(confidenceOf(1, 3_000, 0.999)).toBeGreaterThan(0.95);
    expect(confidenceOf(0.99, 1e6, 0.999)).toBe(0);
    expect(confidenceOf(0.9995, 1e6, 0.999)).toBeGreaterThan(0.999);
  });

  it('never grows when the same load waits more', () => {
    const share = fc.double({ min: 0, max: 1, noNaN: true });
    fc.assert(
      fc.property(fc.array(share, { minLength: 1, maxLength: 300 }), share, (shares, less) => {
        const of = (factor: number): WaitWindow[] =>
          shares.map((one, i) => ({
            vcpus: 8,
            wanted: 0.1 + (i % 10) / 10,
            compliant: (0.1 + (i % 10) / 10) * one * factor,
          }));
        expect(derivedRatio(of(less), goal).busiest).toBeLessThanOrEqual(derivedRatio(of(1), goal).busiest);
      }),
    );
  });
});

describe('the ratio in force', () => {
  const capacity = { cpus: 2, memoryMiB: 1_100, reserveMiB: 100 };
  const usage = (microvmId: string): MicrovmUsage => ({
    ...{ microvmId, vcpus: 1, memoryMiB: 100, wantedCores: 0.1, waitPercent: 1, usedMiB: 20 },
  });
  const seen = (windows: number): UsageHistory => {
    const history = new UsageHistory(windows);
    for (let i = 0; i < windows; i++) history.add([usage('a'), usage('b')]);
    return history;
  };

  it('is 1 until there are windows enough, then follows the peak, and says so', () => {
    const policy = OversubscriptionPolicy.parse({ kind: 'predictedPeak', windows: 24 });
    const committed = { vcpus: 2, memoryMiB: 200 };
    expect(ratioOf(policy, capacity, committed, seen(23))).toMatchObject({ cpu: 1, memory: 1, windows: 23 });
    const { cpu, memory, why } = ratioOf(policy, capacity, committed, seen(24));
    expect(cpu).toBeCloseTo((2 + 2 - 0.2) / 2);
    expect(memory).toBeCloseTo((1_000 + 200 - 40) / 1_000);
    expect(why).toBe(
      'predicted peak of 24 windows: 0.2 (5 sigma 0.2, p99 0.2) of 2 CPUs, 40 (5 sigma 40, p99 40) of 1000 MiB',
    );
  });

  it('is as it is told by a fixed one, and bounded by the most of the others', () => {
    expect(
      ratioOf({ kind: 'fixedRatio', cpu: 8, memory: 2 }, capacity, { vcpus: 0, memoryMiB: 0 }, seen(0)),
    ).toMatchObject({
      ...{ cpu: 8, memory: 2 },
    });
    const policy = OversubscriptionPolicy.parse({ kind: 'predictedPeak', windows: 3, most: { cpu: 1.5, memory: 1.1 } });
    expect(ratioOf(policy, capacity, { vcpus: 2, memoryMiB: 200 }, seen(3))).toMatchObject({ cpu: 1.5, memory: 1.1 });
  });

  it('of a goal says how much was seen, and when it is not enough', () => {
    const goal = (windows: number): OversubscriptionPolicy =>
      OversubscriptionPolicy.parse({ kind: 'complianceGoal', windows, timePercent: 99 });
    const few = ratioOf(goal(24), capacity, { vcpus: 2, memoryMiB: 200 }, seen(24));
    expect(few).toMatchObject({ cpu: 1, why: expect.stringContaining('24 windows do not show') as string });
    const many = ratioOf(goal(400), capacity, { vcpus: 2, memoryMiB: 200 }, seen(400));
    expect(many.cpu).toBe(1);
    expect(many.why).toMatch(/^99 % of vCPU time waited less than 5 % up to 10 % load/);
    expect(many.confidencePercent).toBeGreaterThan(95);
  });
});
