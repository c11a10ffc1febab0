import type { Spread, WhatIfOutcome, WhatIfQuestion, WhatIfReport, WhatIfScenario } from '#protocol';
import { Endings } from './load/endings';
import type { Load } from './load/load';
import { recordedCounts } from './recorded-counts';
import { Replay } from './replay/replay';
import { noClaims, type ClaimCounts, type Tally } from './replay/tally';
import { capacityIn, hostsIn } from './scenario';
import { spreadOf } from './spread';
import { waitsOf } from './waits';

/** What would have become of a load: as it was, and in each alternative. Pure, and takes as long as it takes: nothing for an event loop that serves. */
export function whatIf(load: Load & { compacted: number }, question: WhatIfQuestion): WhatIfReport {
  const endings = new Endings(load.claims);
  const outcomeOf = (scenario: WhatIfScenario): WhatIfOutcome => runScenario(load, endings, question, scenario);
  const asked = load.claims.filter(({ askedAt }) => askedAt >= load.from);
  return {
    from: load.from,
    to: load.to,
    runs: question.runs,
    load: {
      claims: asked.length,
      carriedOver: load.claims.filter(({ askedAt, was }) => askedAt < load.from && was.kind === 'placed').length,
      tenants: new Set(asked.map(({ demand }) => demand.tenant)).size,
      hosts: load.hosts.length,
      unknownEndings: asked.filter(({ ending }) => ending.kind === 'unknown').length,
      compacted: load.compacted,
    },
    recorded: recordedCounts(asked),
    base: outcomeOf({}),
    alternatives: question.alternatives.map(outcomeOf),
  };
}

function runScenario(
  load: Load,
  endings: Endings,
  { runs, reportIntervalMs }: WhatIfQuestion,
  scenario: WhatIfScenario,
): WhatIfOutcome {
  const hosts = hostsIn(scenario, load.hosts, load.from);
  const capacityOf = capacityIn(scenario);
  const tallies = Array.from({ length: runs }, (_, i) =>
    new Replay({ ...load, hosts }, { seed: i + 1, reportIntervalMs, capacityOf, endings }).run(),
  );
  const over = (pick: (tally: Tally) => number): Spread => spreadOf(tallies.map(pick));
  const countsOver = (pick: (tally: Tally) => ClaimCounts) => ({
    asked: over((tally) => pick(tally).asked),
    placed: over((tally) => pick(tally).placed),
    refused: over((tally) => pick(tally).refused),
    unanswered: over((tally) => pick(tally).unanswered),
  });
  const keys = (pick: (tally: Tally) => ReadonlyMap<string, unknown>): string[] =>
    [...new Set(tallies.flatMap((tally) => [...pick(tally).keys()]))].sort();
  const waits = tallies.map((tally) => waitsOf(tally.waits));
  const has = hosts.reduce(
    (sum, { phases }) => {
      const { cpus, memoryMiB, reserveMiB } = phases.at(-1)!.description;
      return { cpus: sum.cpus + cpus, memoryMiB: sum.memoryMiB + memoryMiB - reserveMiB };
    },
    { cpus: 0, memoryMiB: 0 },
  );
  return {
    scenario,
    hosts: hosts.length,
    ...countsOver(({ all }) => all),
    neverCame: over(({ all }) => all.neverCame),
    reasons: Object.fromEntries(
      keys(({ reasons }) => reasons).map((reason) => [reason, over(({ reasons }) => reasons.get(reason) ?? 0)]),
    ),
    tenants: Object.fromEntries(
      keys(({ tenants }) => tenants).map((tenant) => [
        tenant,
        countsOver(({ tenants }) => tenants.get(tenant) ?? noClaims()),
      ]),
    ),
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
  };
}

const ratio = (part: number, whole: number): number => (whole <= 0 ? 0 : Math.round((part / whole) * 10_000) / 10_000);
