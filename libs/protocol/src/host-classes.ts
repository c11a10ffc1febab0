import { z } from 'zod';
import { MicrovmId } from './ids';
import { Instant } from './microvm-events';
import { MicrovmClass } from './microvm-spec';

/** Name of a host class: chosen by the operator, and named by each of its hosts. */
export const HostClassName = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{0,62}$/, "must be 1..63 lower-case letters, digits or '-'");
/** The class of a host whose agent names none. */
export const DEFAULT_HOST_CLASS = 'default';

const Ratio = z.number().min(0.01).max(10_000);
/** Most vCPUs promised per CPU, and most memory promised per memory that is not kept back. */
const Ratios = z.strictObject({ cpu: Ratio, memory: Ratio });

/** What predictions are made of: windows of equal length, in each of which the largest use counts. */
const Observation = {
  /** Length of a window, s. */
  windowSeconds: z.int().min(1).max(3_600).default(300),
  /** How many windows are looked back at; until there are so many, nothing is promised beyond `most` 1. */
  windows: z.int().min(3).max(2_000).default(24),
  /** No prediction leads to more than this. */
  most: Ratios.default({ cpu: 16, memory: 4 }),
};
const Peak = {
  /** Standard deviations above the mean. */
  sigmas: z.number().min(0).max(10).default(5),
  /** Percentile of each microVM's own use, of which the sum is taken. */
  percentile: z.number().min(50).max(100).default(99),
};

/** How far the hosts of a class are promised. Formulas: docs/oversubscription.md. */
export const OversubscriptionPolicy = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('fixedRatio'), ...Ratios.shape }),
  /** What is left below the predicted peak of those there: the larger one of N-sigma and the sum of percentiles. */
  z.strictObject({ kind: z.literal('predictedPeak'), ...Peak, ...Observation }),
  /** As many vCPUs as keep `timePercent` % of vCPU time in windows in which vCPUs waited less than `waitPercent` %; memory as by `predictedPeak`. */
  z.strictObject({
    kind: z.literal('complianceGoal'),
    waitPercent: z.number().min(0.1).max(100).default(5),
    timePercent: z.number().min(50).max(99.999).default(99.9),
    /** How sure the share of compliant time must be, percent. */
    confidencePercent: z.number().min(50).max(99.99).default(95),
    ...Peak,
    ...Observation,
  }),
]);
export type OversubscriptionPolicy = z.output<typeof OversubscriptionPolicy>;

const Limit = z.strictObject({ shut: z.number().min(0).max(100), open: z.number().min(0).max(100) });
/** Shuts above `shut` and opens again below `open`. */
const Above = Limit.refine(({ shut, open }) => open <= shut, 'open must not be above shut');
/** Shuts below `shut` and opens again above `open`. */
const Below = Limit.refine(({ shut, open }) => open >= shut, 'open must not be below shut');

/** When a host admits no more microVMs of a class; what is absent does not count. All in percent. */
export const GuardLimits = z.strictObject({
  /** PSI, `some avg10` of cpu. */
  cpuPressure: Above.optional(),
  /** PSI, `full avg10` of memory. */
  memoryPressure: Above.optional(),
  /** vCPU wait of those of the class `guaranteed`: of 99 % of their vCPU time. */
  vcpuWait: Above.optional(),
  /** Memory that is available, of all that the host may use. */
  availableMemory: Below.optional(),
});
export type GuardLimits = z.infer<typeof GuardLimits>;

/** Guard limits by class; a class that is absent has the default ones. */
export const Guards = z.partialRecord(MicrovmClass, GuardLimits);
export type Guards = z.infer<typeof Guards>;

export const HostClassSettings = z.strictObject({
  policy: OversubscriptionPolicy,
  /** What microVMs of the class `guaranteed` alone may be promised. Absent: as much as all together. */
  guaranteed: Ratios.optional(),
  guards: Guards.default({}),
});
export type HostClassSettings = z.output<typeof HostClassSettings>;

/** Why settings of a class mean nothing, though each of them is well formed; undefined: they can be gone by. */
export function objectionTo({ policy, guaranteed }: HostClassSettings): string | undefined {
  if (!guaranteed) return undefined;
  const [what, most] = policy.kind === 'fixedRatio' ? ['the ratio', policy] : ['`most` of the policy', policy.most];
  for (const resource of ['cpu', 'memory'] as const) {
    if (guaranteed[resource] > most[resource])
      return `guaranteed.${resource} ${guaranteed[resource]} is above ${what}, ${most[resource]}: it could never be reached; lower it or raise that`;
  }
  return undefined;
}

/** What a host goes by. */
export const PolicyHeld = z.strictObject({
  hostClass: HostClassName,
  /** When the class was written last, of which it is; null: the class is not on record, and the host goes by its own settings. */
  revision: Instant.nullable(),
  settings: HostClassSettings.nullable(),
});
export type PolicyHeld = z.output<typeof PolicyHeld>;

/** A class of hosts that are promised alike. */
export const HostClass = z.strictObject({
  name: HostClassName,
  ...HostClassSettings.shape,
  createdAt: Instant,
  updatedAt: Instant,
});
export type HostClass = z.output<typeof HostClass>;

/** Whether a host admits microVMs of a class, and why not. */
export const GateState = z.strictObject({
  open: z.boolean(),
  since: Instant,
  reason: z.string().max(1_024).optional(),
});
export type GateState = z.infer<typeof GateState>;

/** What guards look at. All in percent but for the last two. */
export const GuardReading = z.strictObject({
  cpuPressure: z.number().nullable(),
  memoryPressure: z.number().nullable(),
  /** Null: too little vCPU time was asked for to tell. */
  vcpuWait: z.number().nullable(),
  availableMemory: z.number(),
  availableMiB: z.number(),
  usableMiB: z.number(),
});

/** What the guards of a host do. */
export const GuardReport = z.strictObject({
  gates: z.strictObject({ guaranteed: GateState, bestEffort: GateState }),
  /** What was reclaimed since the agent began. */
  reclaimed: z.strictObject({ ballooned: z.int(), suspended: z.int(), evicted: z.int() }),
  reading: GuardReading,
});
export type GuardReport = z.infer<typeof GuardReport>;

/** How a host has come to the ratio that its admission applies. */
export const RatioInForce = z.strictObject({
  hostClass: HostClassName,
  policy: OversubscriptionPolicy,
  cpu: z.number(),
  memory: z.number(),
  guaranteed: Ratios.optional(),
  /** In one sentence, with the numbers. */
  why: z.string().max(1_024),
  /** Windows of use that stand behind it. */
  windows: z.int().nonnegative(),
  /** Of a compliance goal: how sure it is that it is kept, percent. */
  confidencePercent: z.number().optional(),
});
export type RatioInForce = z.infer<typeof RatioInForce>;

/** What a host did to have memory again. */
export const ReclaimStep = z.strictObject({
  microvmId: MicrovmId,
  step: z.enum(['balloon', 'deflate', 'suspend', 'evict']),
  reason: z.string(),
});
export type ReclaimStep = z.infer<typeof ReclaimStep>;

/** Something that the guards of a host did, with what they saw at that moment. */
export const GuardAct = z.discriminatedUnion('act', [
  /** Admission of a class shut or opened. Reason: what shut it, also when it opens. */
  z.strictObject({
    act: z.literal('admission'),
    at: Instant,
    class: MicrovmClass,
    open: z.boolean(),
    reason: z.string().max(1_024),
    /** How long it had been as it was before, ms. */
    afterMs: z.number().nonnegative(),
    reading: GuardReading,
  }),
  /** Memory was taken from a microVM, or given back to it. */
  z.strictObject({
    act: z.literal('reclaim'),
    at: Instant,
    ...ReclaimStep.shape,
    mib: z.number(),
    reading: GuardReading,
  }),
  /** Clones that waited in pools were ended for the memory that they held. Their pools fill again half a minute after there is enough. */
  z.strictObject({
    act: z.literal('poolsGivenUp'),
    at: Instant,
    /** How many there were, of all templates. */
    clones: z.int().positive(),
    reason: z.string().max(1_024),
    reading: GuardReading,
  }),
]);
export type GuardAct = z.infer<typeof GuardAct>;
