import type { Spread, WhatIfContention, WhatIfOutcome, WhatIfScenario } from '#protocol';
import type { HostPlan } from './load/host-plan';
import { noClaims, type ClaimCounts, type Tally } from './replay/tally';
import { spreadOf } from './spread';
import type { Contention } from './usage/contention';
import { waitsOf } from './waits';

/** What one run gave. */
export interface Run {
  tally: Tally;
  /** Null: no usage is known. */
  contention: Contention | null;
}

/** Tenants that are told of one by one: those of whom most was refused. */
const MOST_TENANTS = 100;

/** What several runs of one scenario gave, each figure as its least, middle and most. */
export function outcomeOf(scenario: WhatIfScenario, hosts: readonly HostPlan[], runs: readonly Run[]): WhatIfOutcome {
  const tallies = runs.map(({ tally }) => tally);
  const over = (pick: (tally: Tally) => number): Spread => spreadOf(tallies.map(pick));
  const countsOver = (pick: (tally: Tally) => ClaimCounts) => ({
    asked: over((tally) => pick(tally).asked),
    placed: over((tally) => pick(tally).placed),
    refused: over((tally) => pick(tally).refused),
    unanswered: over((tally) => pick(tally).unanswered),
  });
  const namesIn = (pick: (tally: Tally) => ReadonlyMap<string, unknown>): string[] =>
    [...new Set(tallies.flatMap((tally) => [...pick(tally).keys()]))].sort();
  const tenants = namesIn((tally) => tally.tenants)
    .map((name) => [name, countsOver((tally) => tally.tenants.get(name) ?? noClaims())] as const)
    .sort(([, a], [, b]) => b.refused.median - a.refused.median)
    .slice(0, MOST_TENANTS);
  const reasons = namesIn((tally) => tally.reasons);
  const waits = tallies.map((tally) => waitsOf(tally.waits));
  const has = descriptionsOf(hosts);
  return {
    scenario,
    hosts: hosts.length,
    ...countsOver(({ all }) => all),
    neverCame: over(({ all }) => all.neverCame),
    reasons: Object.fromEntries(reasons.map((name) => [name, over((tally) => tally.reasons.get(name) ?? 0)])),
    tenants: Object.fromEntries(tenants),
    waitMs: {
      p50: spreadOf(waits.map(({ p50 }) => p50)),
      p99: spreadOf(waits.map(({ p99 }) => p99)),
      max: spreadOf(waits.map(({ max }) => max)),
    },
    peak: {
      microvms: over(({ peak }) => peak.microvms),
      vcpus: over(({ peak }) => peak.vcpus),
      memoryMiB: over(({ peak }) => peak.memoryMiB),
      cpuRatio: over(({ peak }) => ratio(peak.vcpus, has.cpus)),
      memoryRatio: over(({ peak }) => ratio(peak.memoryMiB, has.memoryMiB)),
    },
    contention: contentionOver(runs),
    fewestHosts: null,
  };
}

/** What they have together, the reserve taken off. */
function descriptionsOf(hosts: readonly HostPlan[]): { cpus: number; memoryMiB: number } {
  const sum = { cpus: 0, memoryMiB: 0 };
  for (const { phases } of hosts) {
    const { cpus, memoryMiB, reserveMiB } = phases.at(-1)!.description;
    sum.cpus += cpus;
    sum.memoryMiB += memoryMiB - reserveMiB;
  }
  return sum;
}

function contentionOver(runs: readonly Run[]): WhatIfContention | null {
  const known = runs.flatMap(({ contention }) => contention ?? []);
  if (known.length === 0) return null;
  const over = (name: keyof Contention): Spread => spreadOf(known.map((one) => round(one[name])));
  return {
    cpuTime: over('cpuTime'),
    cpuDemand: over('cpuDemand'),
    cpuUnserved: over('cpuUnserved'),
    memoryTime: over('memoryTime'),
    peakCpu: over('peakCpu'),
    peakMemory: over('peakMemory'),
    evictions: over('evictions'),
    unmeasured: over('unmeasured'),
  };
}

const ratio = (part: number, whole: number): number => (whole <= 0 ? 0 : round(part / whole));
const round = (value: number): number => Math.round(value * 10_000) / 10_000;
