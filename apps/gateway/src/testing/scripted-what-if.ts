import type { Spread, WhatIfOutcome, WhatIfReport } from '#protocol';

const NOTHING: Spread = { min: 0, median: 0, max: 0 };
const COUNTS = { asked: NOTHING, placed: NOTHING, refused: NOTHING, unanswered: NOTHING };
const OUTCOME: WhatIfOutcome = {
  ...{ scenario: {}, hosts: 1, ...COUNTS, neverCame: NOTHING, reasons: {}, tenants: {} },
  waitMs: { p50: NOTHING, p99: NOTHING, max: NOTHING },
  peak: { microvms: NOTHING, vcpus: NOTHING, memoryMiB: NOTHING, cpuRatio: NOTHING, memoryRatio: NOTHING },
  contention: null,
  fewestHosts: null,
};

/** The answer about a time in which nothing was asked for. */
export function scriptedWhatIf(from: number, to: number, runs: number): WhatIfReport {
  return {
    ...{ from, to, runs, base: OUTCOME, alternatives: [OUTCOME], oracle: null },
    load: { claims: 0, carriedOver: 0, tenants: 0, hosts: 1, unknownEndings: 0, measured: 0, compacted: 0 },
    recorded: { asked: 0, placed: 0, refused: 0, unanswered: 0, waitMs: { p50: 0, p99: 0, max: 0 } },
  };
}
