import { z } from 'zod';
import { GuardAct, HostClassName, PolicyHeld } from './host-classes';
import { HostId } from './ids';
import { Cause, Instant } from './microvm-events';
import { SnapshotPlatform } from './snapshot-platform';

export const HOST_STATES = [
  'joining',
  'ready',
  'cordoned',
  'draining',
  'drained',
  'unreachable',
  'lost',
  'retired',
] as const;
export const HostStateName = z.enum(HOST_STATES);
export type HostStateName = z.infer<typeof HostStateName>;

/** What a host is and offers; sent when its agent registers. */
export const HostDescription = z.strictObject({
  hostId: HostId,
  hostname: z.string(),
  kernel: z.string(),
  agentVersion: z.string(),
  bootId: z.string(),
  kvm: z.strictObject({
    available: z.boolean(),
    /** `stand-in`: the agent was told to do without (`VmmChoice`), and no guest runs there. */
    kind: z.enum(['hardware', 'software', 'stand-in']).optional(),
    /** Why it is not available, or why no guest runs there. */
    reason: z.string().optional(),
  }),
  cpus: z.int().positive(),
  memoryMiB: z.int().positive(),
  /** Kept back for the host itself, in MiB. */
  reserveMiB: z.int().nonnegative(),
  slots: z.int().positive(),
  overcommit: z.strictObject({ cpu: z.number().positive(), memory: z.number().positive() }),
  /** Built-in images that this host has. */
  images: z.array(z.string()),
  /** Whether it boots stock Linux kernels, and so imported images; else why not. Absent in records of older agents: it does not. */
  linux: z.strictObject({ available: z.boolean(), reason: z.string().optional() }).optional(),
  /** Barriers of the jail that every VMM is put in, and what keeps the others away. */
  jail: z
    .strictObject({
      barriers: z.array(z.string()),
      missing: z.array(z.strictObject({ name: z.string(), reason: z.string() })),
    })
    .optional(),
  /** Whether microVMs can have network devices here. */
  network: z
    .strictObject({ available: z.boolean(), pool: z.string().optional(), reason: z.string().optional() })
    .optional(),
  /** Of the snapshots that it takes and restores; absent: it does neither. */
  snapshots: SnapshotPlatform.optional(),
  /** The class that its agent names; absent: `default`. */
  hostClass: HostClassName.optional(),
  labels: z.record(z.string(), z.string()),
});
export type HostDescription = z.infer<typeof HostDescription>;

/** How a host is emptied. */
export const DrainOrder = z.strictObject({
  /** How many microVMs are moved or stopped at a time. */
  parallel: z.int().min(1).max(256).default(4),
  /** How long a guest may take to power off before it is killed, ms; 0: killed at once. */
  graceMs: z.int().min(0).max(600_000).default(10_000),
  /** What becomes of microVMs that stay with their host (`onHostLoss: keep`): the drain waits for their own end, or stops them. */
  kept: z.enum(['wait', 'stop']).default('wait'),
});
export type DrainOrder = z.output<typeof DrainOrder>;

/** How far a drain has come; every microVM that it is about counts once. Those deleted meanwhile do not count any more. */
export const DrainProgress = z.strictObject({
  total: z.int().nonnegative(),
  /** Run elsewhere. */
  moved: z.int().nonnegative(),
  /** Are being ended here or started elsewhere. */
  moving: z.int().nonnegative(),
  /** Are here and not touched yet: for their turn, for room elsewhere, or for their own end. */
  waiting: z.int().nonnegative(),
  /** Ended here since it began, asked to or by themselves, and stay down. */
  stopped: z.int().nonnegative(),
  /** Were moved and could not be started elsewhere. */
  failed: z.int().nonnegative(),
});
export type DrainProgress = z.infer<typeof DrainProgress>;

/** A drain that was asked for and not cancelled. */
export const Drain = z.strictObject({ ...DrainOrder.shape, requestedAt: Instant, progress: DrainProgress });
export type Drain = z.output<typeof Drain>;

export const HostEvent = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('registered'), description: HostDescription }),
  z.strictObject({ type: z.literal('admitted') }),
  z.strictObject({ type: z.literal('leaseExpired') }),
  z.strictObject({ type: z.literal('cordonRequested') }),
  z.strictObject({ type: z.literal('uncordonRequested') }),
  z.strictObject({ type: z.literal('retireRequested') }),
  /** Asked again, it changes how a drain under way goes on. */
  z.strictObject({ type: z.literal('drainRequested'), ...DrainOrder.shape }),
  z.strictObject({ type: z.literal('drainCancelled') }),
  z.strictObject({ type: z.literal('drainProgressed'), progress: DrainProgress }),
  /** Nothing is alive there any more. */
  z.strictObject({ type: z.literal('drainCompleted') }),
  /** Something is alive there after all: it had been placed before the drain was known everywhere. */
  z.strictObject({ type: z.literal('drainReopened') }),
  /** By an operator; null: its agent says again to which class it belongs. */
  z.strictObject({ type: z.literal('classAssigned'), hostClass: HostClassName.nullable() }),
  /** The host has said that it goes by this now. */
  z.strictObject({ type: z.literal('policyApplied'), policy: PolicyHeld }),
  /** Told once for each batch, however often it comes. */
  z.strictObject({
    type: z.literal('guardsActed'),
    batch: z.string(),
    acts: z.array(GuardAct),
    omitted: z.int().nonnegative(),
  }),
  z.strictObject({ type: z.literal('deadlinePassed'), timer: z.string() }),
]);
export type HostEvent = z.infer<typeof HostEvent>;

export const HostRecord = z.strictObject({
  machine: z.int().positive(),
  hostId: HostId,
  commandId: z.string(),
  cause: Cause,
  at: Instant,
  from: HostStateName.nullable(),
  to: HostStateName,
  events: z.array(HostEvent).min(1),
});
export type HostRecord = z.infer<typeof HostRecord>;

/** A host as every reader sees it. */
export const Host = z.strictObject({
  id: HostId,
  state: HostStateName,
  description: HostDescription,
  /** While it is being emptied, or is empty and kept so; remembered while it cannot be reached. */
  drain: Drain.optional(),
  /** The class it belongs to, and who says so. */
  hostClass: z.strictObject({ name: HostClassName, by: z.enum(['operator', 'agent']) }),
  /** What it has said it goes by; absent: its own settings, as ever. */
  policy: PolicyHeld.optional(),
  /** ISO 8601. */
  createdAt: z.string(),
  updatedAt: z.string(),
  revision: z.int(),
});
export type Host = z.infer<typeof Host>;

/** One step of the history of a host as readers see it. */
export const HostHistoryEntry = z.strictObject({
  sequence: z.int(),
  at: z.string(),
  commandId: z.string(),
  cause: Cause,
  from: HostStateName.nullable(),
  to: HostStateName,
  events: z.array(HostEvent),
});
export type HostHistoryEntry = z.infer<typeof HostHistoryEntry>;
