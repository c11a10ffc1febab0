import { z } from 'zod';
import { HostId } from './ids';
import { Digest } from './images';
import { MicrovmSpec } from './microvm-spec';
import { SnapshotCopy } from './snapshot-copy';
import { SnapshotPlatform } from './snapshot-platform';
import { TuningRecord } from './tuning';

export const MICROVM_STATES = [
  'requested',
  'placing',
  'starting',
  'running',
  'pausing',
  'paused',
  'resuming',
  'snapshotting',
  'suspending',
  'suspended',
  'restoring',
  'moving',
  'stopping',
  'stopped',
  'failed',
  'unreachable',
  'deleting',
  'deleted',
] as const;
export const MicrovmStateName = z.enum(MICROVM_STATES);
export type MicrovmStateName = z.infer<typeof MicrovmStateName>;

/** Milliseconds since 1970, with fraction where the clock gives it. */
export const Instant = z.number().nonnegative();

/**
 * How an incarnation ended. `requested`: by Volley, on request. `lost`: the host found it gone without a reason. `fenced`: its host had not
 * heard from the controllers until the end of its lease, and it may start elsewhere then. `hostRestarted`: the machine under it was restarted. `outOfMemory`: the VMM
 * had used up what the host allows it; `guestOutOfMemory`: the program of a Linux image was killed for want of memory in its guest;
 * `programFailed`: it ended by itself with a code other than 0 or by a signal, or could not be started. `expired`, `idle`: its host ended
 * it because its time to live was over, or because nobody had used it for as long as its spec allows. `evicted`: it was of the class
 * `bestEffort`, and its host ended it to have memory for the others.
 */
export const Exit = z.strictObject({
  reason: z.enum([
    'powerOff',
    'reboot',
    'panic',
    'tripleFault',
    'killed',
    'outOfMemory',
    'guestOutOfMemory',
    'programFailed',
    'jailViolation',
    'vmmError',
    'requested',
    'lost',
    'fenced',
    'hostRestarted',
    'expired',
    'idle',
    'evicted',
  ]),
  message: z.string().max(1024),
  at: Instant,
  /** How the program of a Linux image ended, as its init reported before the microVM ended. */
  program: z
    .strictObject({
      code: z.int().min(0).max(255).optional(),
      signal: z.int().min(1).max(64).optional(),
      /** The guest's own OOM killer ended it. */
      outOfMemory: z.boolean().optional(),
      /** It could not be started: errno. */
      errno: z.int().optional(),
      /** The guest had been told to end before, so that this is how the program took it, and no failure. */
      asked: z.boolean().optional(),
    })
    .optional(),
});
export type Exit = z.infer<typeof Exit>;

/** When each step of one start was reached, on the host's clock. */
export const StartTimings = z.strictObject({
  /** hostd read the start command. */
  receivedAt: Instant,
  /** Slot, memory and vCPUs were granted and journalled. */
  admittedAt: Instant,
  /** clone3 of the VMM process. */
  launchedAt: Instant,
  /** The VMM's main() was entered. */
  vmmEnteredAt: Instant,
  /** First KVM_RUN. */
  guestRunAt: Instant,
  /** The guest wrote its boot timer. */
  guestBootedAt: Instant,
});
export type StartTimings = z.infer<typeof StartTimings>;

/** Where a microVM is on its host's network. */
export const GuestNetwork = z.strictObject({
  /** IPv4 address of the guest, routed by its host only. */
  address: z.string(),
  gateway: z.string(),
  mac: z.string(),
});
export type GuestNetwork = z.infer<typeof GuestNetwork>;

const event = <T extends string, S extends z.ZodRawShape>(type: T, shape: S) =>
  z.strictObject({ type: z.literal(type), ...shape });
const placement = { hostId: HostId, epoch: z.int().positive() };

/** Every fact a microVM's history can hold. Facts from hosts name the epoch they speak of; facts of another epoch are refused. */
export const MicrovmEvent = z.discriminatedUnion('type', [
  // decisions of the controller and its callers
  event('requested', { spec: MicrovmSpec, requestedAt: Instant, specHash: z.string() }),
  event('placementStarted', {}),
  event('placed', { ...placement, receiptId: z.string(), decidedAt: Instant }),
  /** No host can take it now; it waits for one. */
  event('placementWaits', { reason: z.string(), receiptId: z.string().optional() }),
  event('placementFailed', { reason: z.string(), receiptId: z.string().optional(), final: z.boolean() }),
  event('pauseRequested', {}),
  event('resumeRequested', {}),
  event('stopRequested', { timeoutMs: z.int().min(0).max(600_000) }),
  event('killRequested', {}),
  /** A template is to be made of it. */
  event('snapshotRequested', { templateId: z.string(), afterwards: z.enum(['resume', 'end']) }),
  /** Its memory is to go to the disk of its host, and its place to others. */
  event('suspendRequested', {}),
  /** It goes on on its host from where it was suspended, as this incarnation. */
  event('restoreRequested', {
    ...placement,
    requestedAt: Instant,
    /** Where nobody asked for it: what woke it. */
    reason: z.string().optional(),
  }),
  event('startRequested', { requestedAt: Instant }),
  event('deleteRequested', { reason: z.string().optional() }),
  event('protectionSet', { enabled: z.boolean() }),
  /** A place on another host is kept for it: end it here, then start it there. */
  event('moveRequested', { to: HostId, receiptId: z.string(), graceMs: z.int().min(0).max(600_000) }),
  event('deadlinePassed', { timer: z.string() }),
  event('hostLost', { hostId: HostId }),
  event('hostGone', { hostId: HostId, reason: z.string() }),
  // facts of a host
  event('refused', { ...placement, reason: z.string() }),
  event('started', { ...placement, pid: z.int(), timings: StartTimings, network: GuestNetwork.optional() }),
  event('pausedOnHost', placement),
  event('resumedOnHost', placement),
  event('snapshotTaken', {
    ...placement,
    templateId: z.string(),
    /** Of the manifest. */
    digest: Digest,
    bytes: z.int().nonnegative(),
    /** For how long it stood still. */
    pauseMs: z.number().nonnegative(),
    /** How its memory was copied; absent where that is not known any more. */
    copy: SnapshotCopy.optional(),
    platform: SnapshotPlatform,
    /** Its data disks, by their place among them, that its guest does not use: clones may have others there. */
    unusedDisks: z.array(z.int().nonnegative()).optional(),
    /** What it does now. */
    as: z.enum(['running', 'paused']),
  }),
  event('suspended', {
    ...placement,
    bytes: z.int().nonnegative(),
    pauseMs: z.number().nonnegative(),
    copy: SnapshotCopy.optional(),
    /** Why, when its host did it on its own account. */
    reason: z.string().optional(),
  }),
  event('commandFailed', {
    ...placement,
    command: z.enum(['pause', 'resume', 'stop', 'snapshot', 'suspend']),
    reason: z.string(),
  }),
  event('observed', {
    ...placement,
    as: z.enum(['starting', 'running', 'paused', 'suspended']),
    pid: z.int().optional(),
    reason: z.string(),
  }),
  event('exited', { ...placement, exit: Exit }),
  event('absent', { ...placement, reason: z.string() }),
  event('erased', placement),
  /** The running incarnation was changed. reason: why, when its host did it on its own account. */
  event('tuned', { ...placement, tuning: TuningRecord, reason: z.string().optional() }),
]);
export type MicrovmEvent = z.infer<typeof MicrovmEvent>;
export type MicrovmEventType = MicrovmEvent['type'];

/** Who or what made a record happen. */
export const Cause = z.strictObject({
  kind: z.enum(['operator', 'placement', 'host', 'timer', 'controller']),
  /** Who: token name, host id, timer name or component. */
  by: z.string(),
});
export type Cause = z.infer<typeof Cause>;

/** One message of a microVM's history: what one accepted command did, all of it or nothing. */
export const MicrovmRecord = z.strictObject({
  /** Version of the machine that accepted it. */
  machine: z.int().positive(),
  microvmId: z.string(),
  /** Identity of the command, also the key of de-duplication. */
  commandId: z.string(),
  cause: Cause,
  at: Instant,
  from: MicrovmStateName.nullable(),
  to: MicrovmStateName,
  events: z.array(MicrovmEvent).min(1),
});
export type MicrovmRecord = z.infer<typeof MicrovmRecord>;
