import { z } from 'zod';
import { OversubscriptionPolicy } from './host-classes';
import { Instant } from './microvm-events';
import { operation } from './operation';

const Ratio = z.number().positive().max(10_000);

/** What is to be otherwise than it was; what is absent stays as it was. */
export const WhatIfScenario = z.strictObject({
  /** Most that hosts may promise of their memory, in place of their own limit. */
  memoryRatio: Ratio.optional(),
  /** The same of their CPUs. */
  cpuRatio: Ratio.optional(),
  /** A policy that derives the ratios from usage, as of a host class; other than `fixedRatio` it takes the place of both. */
  policy: OversubscriptionPolicy.optional(),
  /** So many hosts, or those with all of these labels. */
  hosts: z.union([z.int().min(1).max(10_000), z.record(z.string(), z.string())]).optional(),
});
export type WhatIfScenario = z.output<typeof WhatIfScenario>;

export const WhatIfQuestion = z.strictObject({
  from: Instant,
  to: Instant,
  alternatives: z.array(WhatIfScenario).min(1).max(8),
  /** How many runs, each with chance of its own. */
  runs: z.int().min(1).max(50).default(5),
  /** How often hosts report, ms: as `hostd --report-interval-ms` was. */
  reportIntervalMs: z.int().min(10).max(600_000).default(1_000),
});
export type WhatIfQuestion = z.output<typeof WhatIfQuestion>;

/** What the runs of one scenario gave. */
const Spread = z.strictObject({ min: z.number(), median: z.number(), max: z.number() });
export type Spread = z.infer<typeof Spread>;

const countsOf = <T extends z.ZodType>(of: T) => ({
  /** Claims: creates, starts and restarts that wanted a place. */
  asked: of,
  placed: of,
  refused: of,
  /** Stopped, deleted or expired while they waited, or still waiting at the end. */
  unanswered: of,
});
const waitsOf = <T extends z.ZodType>(of: T) => z.strictObject({ p50: of, p99: of, max: of });

/** How often more was wanted than there is, from the recorded usage; shares of 1. */
export const WhatIfContention = z.strictObject({
  /** Share of the time of hosts with microVMs in which these wanted more CPU than the host has. */
  cpuTime: Spread,
  /** Share of all wanted CPU time that fell into such times. */
  cpuDemand: Spread,
  /** Share of all wanted CPU time that there was no CPU for. */
  cpuUnserved: Spread,
  /** Share of the time of hosts with microVMs in which these held more memory than the host has less its reserve. */
  memoryTime: Spread,
  /** The most that was wanted of one host, over what it has. */
  peakCpu: Spread,
  peakMemory: Spread,
  /** Best-effort microVMs that would have been evicted, at most: balloons and suspending come before. */
  evictions: Spread,
  /** Share of the time of microVMs for which no usage is known: it counts as none. */
  unmeasured: Spread,
});
export type WhatIfContention = z.infer<typeof WhatIfContention>;

/** How one scenario went. */
export const WhatIfOutcome = z.strictObject({
  scenario: WhatIfScenario,
  hosts: z.int(),
  ...countsOf(Spread),
  /** Restarts and moves that never came, because what they follow on was refused. */
  neverCame: Spread,
  /** Refused claims by the filter that most hosts failed; `host`: hosts refused it themselves; `future`: an oracle did. */
  reasons: z.record(z.string(), Spread),
  tenants: z.record(z.string(), z.strictObject(countsOf(Spread))),
  /** How long those waited that were placed, ms. */
  waitMs: waitsOf(Spread),
  /** The most that was promised at a time, and that over what the hosts have less their reserve. */
  peak: z.strictObject({
    microvms: Spread,
    vcpus: Spread,
    memoryMiB: Spread,
    cpuRatio: Spread,
    memoryRatio: Spread,
  }),
  /** Null: no usage is on record. */
  contention: WhatIfContention.nullable(),
  /** Fewest of the hosts on which no more is refused than in the worst run of the base; null: not even on all of them, or not asked. */
  fewestHosts: z.int().nullable(),
});
export type WhatIfOutcome = z.infer<typeof WhatIfOutcome>;

export const WhatIfReport = z.strictObject({
  from: Instant,
  to: Instant,
  runs: z.int(),
  load: z.strictObject({
    /** Asked for in that time. */
    claims: z.int(),
    /** Had a place when it began. */
    carriedOver: z.int(),
    tenants: z.int(),
    hosts: z.int(),
    /** Never had a place; how they would have ended is drawn from like ones that had one. */
    unknownEndings: z.int(),
    /** Claims whose usage was measured. */
    measured: z.int(),
    /** Histories of which only the end is on record: they are not in the load. */
    compacted: z.int(),
  }),
  /** What happened. */
  recorded: z.strictObject({ ...countsOf(z.int()), waitMs: waitsOf(z.number()) }),
  /** The same load on the same hosts once more: how far it is from what happened tells how far to trust the rest. */
  base: WhatIfOutcome,
  alternatives: z.array(WhatIfOutcome),
  /** Somebody who knows the future would have decided so: each host takes whom it has room for, whatever was promised. Null: no usage is on record. */
  oracle: WhatIfOutcome.nullable(),
});
export type WhatIfReport = z.infer<typeof WhatIfReport>;

export const whatIf = operation({
  subject: 'volley.v1.whatIf.ask',
  queue: 'placement',
  request: WhatIfQuestion,
  reply: WhatIfReport,
  deadlineMs: 120_000,
  summary: 'What would have become of the load of a time with other limits or hosts. Changes nothing.',
});
