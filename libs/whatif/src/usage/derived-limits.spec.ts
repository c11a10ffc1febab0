import { OversubscriptionPolicy, type MicrovmUsage, type UsageRecord } from '#protocol';
import type { Claim } from '../load/claim';
import { whatIf } from '../what-if';
import { claim, FROM, hostPlan, loadOf } from '../whatif.fixtures';

/** Comes every 200 ms, stays for a minute, is promised 100 MiB and uses as much as it is told. */
const COUNT = 600;
const claims: Claim[] = Array.from({ length: COUNT }, (_, n) =>
  claim(n, {
    ...{ memoryMiB: 100, askedAt: FROM + n * 200, ending: { kind: 'after', ms: 60_000 } },
    was: { kind: 'placed', hostId: 'a', epoch: 1, at: FROM + n * 200 },
  }),
);
const used = (milliCores: number, MiB: number): UsageRecord[] =>
  claims.map((_, n) => {
    const from = FROM + n * 200;
    const microvms: MicrovmUsage[] = [[`vm-${n}`, 1, milliCores, milliCores, 0, MiB]];
    return { version: 1, hostId: 'a', from, to: from + 1_000, whole: false, microvms };
  });

const ask = (usage: UsageRecord[]) => {
  const load = { ...loadOf(claims, [hostPlan('a', { cpus: 64 })], 120_000), usage, compacted: 0 };
  const settings = { windowSeconds: 5, windows: 3 };
  return whatIf(load, {
    ...{ from: load.from, to: load.to, runs: 2, reportIntervalMs: 500 },
    alternatives: (['predictedPeak', 'complianceGoal'] as const).map((kind) => ({
      policy: OversubscriptionPolicy.parse({ kind, ...settings }),
    })),
  });
};

describe('limits that a policy derives from what was used', () => {
  it('let more in than a ratio of one where little of what is promised is used, and nothing is short', () => {
    const { base, alternatives } = ask(used(10, 20));
    const [peak] = alternatives;
    expect(base.peak.memoryRatio.max).toBeLessThanOrEqual(1);
    expect(peak!.placed.min).toBeGreaterThan(3 * base.placed.max);
    expect(peak!.peak.memoryRatio.min).toBeGreaterThan(1.5);
    expect(peak!.contention!.memoryTime.max).toBe(0);
  });

  it('let no more in where all that is promised is used', () => {
    const { base, alternatives } = ask(used(900, 100));
    for (const { refused, peak } of alternatives) {
      expect(refused.min).toBeGreaterThanOrEqual(base.refused.min);
      expect(peak.memoryRatio.max).toBeLessThanOrEqual(1);
    }
  });
});
