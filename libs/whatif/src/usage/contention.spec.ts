import type { MicrovmUsage, UsageRecord } from '#protocol';
import { Endings } from '../load/endings';
import type { Claim } from '../load/claim';
import { Replay, type ReplayedStay } from '../replay/replay';
import { capacityIn } from '../scenario';
import { claim, FROM, hostPlan, loadOf } from '../whatif.fixtures';
import { whatIf } from '../what-if';
import { contentionOf } from './contention';
import { FutureBooks } from './future-books';
import { UsageSeriesOf, usedAt } from './usage-series';

const SPAN = { from: FROM, to: FROM + 10_000, stepMs: 1_000, seed: 1 };

/** Runs from `from` to `to`, ms after the beginning. */
function ran(n: number, from: number, to: number, memoryMiB = 100): Claim {
  return claim(n, {
    ...{ memoryMiB, askedAt: FROM + from, ending: { kind: 'after', ms: to - from } },
    was: { kind: 'placed', hostId: 'a', epoch: 1, at: FROM + from },
  });
}

/** What one used in each second from one on. */
function usageOf(
  n: number,
  second: number,
  each: readonly [milliCores: number, waitPermille: number, MiB: number][],
): UsageRecord[] {
  return each.map(([milliCores, wait, MiB], i) => {
    const from = FROM + (second + i) * 1_000;
    const microvms: MicrovmUsage[] = [[`vm-${n}`, 1, milliCores, milliCores, wait, MiB]];
    return { version: 1, hostId: 'a', from, to: from + 1_000, whole: false, microvms };
  });
}

const stay = (of: Claim, hostId: string, from: number, to: number): ReplayedStay => ({
  ...{ claim: of, hostId, from: FROM + from, to: FROM + to },
});

describe('usage on record', () => {
  it('counts from when it got its place, holds until it changes, and adds what it waited for', () => {
    const one = ran(0, 1_500, 9_000);
    const usage = new UsageSeriesOf(
      [one],
      usageOf(0, 1, [
        [500, 0, 10],
        [800, 200, 20],
      ]),
    );
    const series = usage.of(one, () => 0)!;
    expect(usedAt(series, 0)).toEqual({ at: 0, wantedCores: 0.5, memoryMiB: 10 });
    expect(usedAt(series, 499).wantedCores).toBe(0.5);
    expect(usedAt(series, 500)).toEqual({ at: 500, wantedCores: 1, memoryMiB: 20 });
    expect(usedAt(series, 7_000).memoryMiB).toBe(20);
  });

  it('takes that of a like one for one that was not measured, and of none where there is none', () => {
    const measured = ran(0, 0, 5_000);
    const usage = new UsageSeriesOf([measured], usageOf(0, 0, [[700, 0, 10]]));
    expect(usage.of(ran(1, 0, 100), () => 0.99)).toEqual([{ at: 0, wantedCores: 0.7, memoryMiB: 10 }]);
    expect(usage.of(ran(2, 0, 100, 777), () => 0)).toBeUndefined();
  });

  it('tells how much of the time, and of what was wanted, there was not enough', () => {
    const [a, b] = [ran(0, 0, 10_000), ran(1, 0, 10_000)];
    const usage = new UsageSeriesOf([a, b], [...usageOf(0, 0, [[3_000, 0, 600]]), ...usageOf(1, 0, [[3_000, 0, 600]])]);
    // Four cores and 1,000 MiB: together they are too much for two seconds of ten.
    const together = [stay(a, 'a', 0, 6_000), stay(b, 'a', 4_000, 10_000)];
    const found = contentionOf(together, [hostPlan('a')], usage, SPAN);
    expect(found).toMatchObject({ cpuTime: 0.2, memoryTime: 0.2, peakCpu: 1.5, peakMemory: 1.2, unmeasured: 0 });
    expect(found.cpuDemand).toBeCloseTo(12 / 36);
    expect(found.cpuUnserved).toBeCloseTo(4 / 36);
    const apart = [stay(a, 'a', 0, 6_000), stay(b, 'b', 4_000, 10_000)];
    expect(contentionOf(apart, [hostPlan('a'), hostPlan('b')], usage, SPAN)).toMatchObject({
      cpuTime: 0,
      cpuDemand: 0,
    });
  });

  it('counts who would have been evicted: best effort only, those that hold the most first, until enough is free', () => {
    const of = (n: number, kind: 'guaranteed' | 'bestEffort'): Claim => {
      const one = ran(n, 0, 10_000);
      return { ...one, demand: { ...one.demand, class: kind } };
    };
    const claims = [of(0, 'guaranteed'), of(1, 'bestEffort'), of(2, 'bestEffort'), of(3, 'bestEffort')];
    const records = [500, 200, 150, 120].flatMap((mib, n) => usageOf(n, 0, [[10, 0, mib]]));
    const usage = new UsageSeriesOf(claims, records);
    const stays = claims.map((one, n) => stay(one, 'a', n * 1_000, 10_000));
    const evictions = (of: readonly ReplayedStay[]) => contentionOf(of, [hostPlan('a')], usage, SPAN).evictions;
    // 970 of 1,000 MiB: without the largest of them enough is free again.
    expect(evictions(stays)).toBe(1);
    expect(evictions(stays.slice(0, 3))).toBe(0);
    const guaranteed = stays.map((one) => ({ ...one, claim: { ...one.claim, demand: claims[0]!.demand } }));
    expect(evictions(guaranteed)).toBe(0);
  });

  it('says how much of it is not known', () => {
    const one = ran(0, 0, 10_000, 777);
    const nothing = new UsageSeriesOf([], []);
    expect(contentionOf([stay(one, 'a', 0, 5_000)], [hostPlan('a')], nothing, SPAN)).toMatchObject({
      unmeasured: 1,
      peakCpu: 0,
    });
  });
});

describe('the oracle', () => {
  it('takes who fits into the future of a host, and nobody else', () => {
    const quietThenBusy = ran(0, 0, 10_000);
    const short = ran(1, 0, 3_000);
    const long = ran(2, 0, 8_000);
    const usage = new UsageSeriesOf(
      [quietThenBusy, short, long],
      [
        ...usageOf(0, 0, [
          [100, 0, 10],
          [100, 0, 10],
          [100, 0, 10],
          [100, 0, 10],
          [3_900, 0, 10],
        ]),
        ...usageOf(1, 0, [[2_000, 0, 10]]),
        ...usageOf(2, 0, [[2_000, 0, 10]]),
      ],
    );
    const books = new FutureBooks([hostPlan('a')], usage, SPAN);
    books.take('a', quietThenBusy, FROM, FROM + 10_000);
    expect(books.mayTake('a', short, FROM, FROM + 3_000)).toBe(true);
    expect(books.mayTake('a', long, FROM, FROM + 8_000)).toBe(false);
    expect(books.mayTake('b', short, FROM, FROM + 3_000)).toBe(false);
  });

  it('counts what was never measured in full', () => {
    const books = new FutureBooks([hostPlan('a')], new UsageSeriesOf([], []), SPAN);
    for (let n = 0; n < 4; n++) {
      expect(books.mayTake('a', ran(n, 0, 5_000), FROM, FROM + 5_000)).toBe(true);
      books.take('a', ran(n, 0, 5_000), FROM, FROM + 5_000);
    }
    expect(books.mayTake('a', ran(9, 0, 5_000), FROM, FROM + 5_000)).toBe(false);
    expect(books.mayTake('a', ran(9, 0, 5_000), FROM + 5_000, FROM + 6_000)).toBe(true);
  });

  it('refuses no more than any limit under which nothing is ever short, and has no contention', () => {
    const claims = Array.from({ length: 40 }, (_, n) => ran(n, n * 50, n * 50 + 4_000));
    const records = claims.flatMap((_, n) => usageOf(n, Math.floor((n * 50) / 1_000), [[300, 0, 20]]));
    const usage = new UsageSeriesOf(claims, records);
    const hosts = [hostPlan('a')];
    const run = (withOracle: boolean, memoryRatio: number) => {
      const stays: ReplayedStay[] = [];
      const tally = new Replay(loadOf(claims, hosts), {
        ...{ seed: 1, reportIntervalMs: 1, endings: new Endings(claims), capacityOf: capacityIn({ memoryRatio }) },
        oracle: withOracle ? new FutureBooks(hosts, usage, SPAN) : undefined,
        onStay: (one) => void stays.push(one),
      }).run();
      return { refused: tally.all.refused, ...contentionOf(stays, hosts, usage, SPAN) };
    };
    const oracle = run(true, 1e6);
    expect(oracle).toMatchObject({ cpuTime: 0, memoryTime: 0 });
    expect(oracle.refused).toBeGreaterThan(0);
    const safe = [0.5, 1, 1.3, 2, 4].map((ratio) => run(false, ratio)).filter(({ cpuTime }) => cpuTime === 0);
    expect(safe.length).toBeGreaterThan(1);
    for (const { refused } of safe) expect(refused).toBeGreaterThanOrEqual(oracle.refused);
  });
});

describe('a report', () => {
  it('replays what happened, says how few hosts would have done, and what the oracle makes of it', () => {
    const claims = Array.from({ length: 30 }, (_, n) => ran(n, n * 100, n * 100 + 1_000));
    const usage = claims.flatMap((_, n) => usageOf(n, Math.floor(n / 10), [[50, 0, 5]]));
    const load = { ...loadOf(claims, [hostPlan('a'), hostPlan('b'), hostPlan('c')]), usage, compacted: 2 };
    const report = whatIf(load, {
      ...{ from: load.from, to: load.to, runs: 3, reportIntervalMs: 100 },
      alternatives: [{ memoryRatio: 3 }, { memoryRatio: 0.1 }],
    });
    expect(report.recorded).toMatchObject({ asked: 30, placed: 30, refused: 0 });
    expect(report.base.refused).toEqual({ min: 0, median: 0, max: 0 });
    expect(report.base.contention!.cpuTime.max).toBe(0);
    // Ten at a time of 100 MiB each, and a report now and then.
    expect(report.base.fewestHosts).toBe(2);
    expect(report.alternatives[0]!.fewestHosts).toBe(1);
    expect(report.alternatives[1]!.refused.median).toBeGreaterThan(10);
    expect(report.alternatives[1]!.fewestHosts).toBeNull();
    expect(report.oracle!.refused.max).toBe(0);
    expect(report.load).toMatchObject({ claims: 30, measured: 30, compacted: 2, unknownEndings: 0 });
  });
});
