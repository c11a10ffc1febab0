import type { Exit, GuestNetwork, MicrovmEvent, MicrovmSpec, MicrovmTimings, TuningRecord } from '#protocol';
import { sharedSpec } from './shared-spec';

/** What a microVM's machine remembers besides its state. Changed only by events. */
export interface MicrovmContext {
  spec: MicrovmSpec;
  specHash: string;
  /** Host of the current incarnation; kept after its end, for the log and for cleaning up. */
  hostId: string | null;
  /** Number of the latest placement. */
  epoch: number;
  pid: number | null;
  /** Of the running incarnation, if it has a network device. */
  network: GuestNetwork | null;
  /** Placements tried since it was last asked to start; 0 while it moves to a place that was chosen before it was ended. */
  attempts: number;
  /** Hosts that refused it since it was last asked to start. */
  excluded: readonly string[];
  /** Starts by the restart policy since it was last asked to start. */
  restarts: number;
  /** How long `requested` lasts, ms. */
  waitMs: number;
  /** How long the guest may take to power off in `stopping`, ms; 0 = kill. */
  stopTimeoutMs: number;
  /** How often the host was asked again in `stopping` or `deleting`. */
  rounds: number;
  /** True in `unreachable` when the host's lease ended, so that its agent has fenced itself by now or soon will. */
  leaseEnded: boolean;
  /** Why it is in this state, for people. */
  reason: string | null;
  exit: Exit | null;
  /** Changes of the current incarnation that hold: the latest of each thing. */
  tuned: readonly TuningRecord[];
  /** When it was changed last, ms since 1970; 0 = never. */
  tunedAt: number;
  timings: MicrovmTimings;

  /** The last template that was made of it, or is being made. */
  snapshot?: Snapshot;

  // Of those microVMs only whose policies need it: the memory of an idle one is budgeted.
  /** Deleting is refused. */
  protected?: boolean;
  /** When its time to live is over, ms since 1970. */
  expiresAt?: number;
  /** The last move away from a host, and the place that was chosen for it before it was ended there. */
  move?: Move;
  /** When a restart's turn came: from then on it waits for a host. */
  placingSince?: number;
  /** When it was last asked to start: scheduled stops after this are due, however late they are noticed. */
  upSince?: number;
}

/** How making a template of a microVM goes. */
export interface Snapshot {
  templateId: string;
  afterwards: 'resume' | 'end';
  /** What its host says of it; absent: nothing yet. */
  taken?: Pick<
    Extract<MicrovmEvent, { type: 'snapshotTaken' }>,
    'digest' | 'bytes' | 'pauseMs' | 'platform' | 'unusedDisks'
  >;
  /** Why there is none. */
  failed?: string;
}

export interface Move {
  from: string;
  to: string;
  /** Receipt of the placement. */
  receiptId: string;
  /** ms since 1970. */
  at: number;
}

export interface MicrovmInput {
  spec: MicrovmSpec;
  specHash: string;
  requestedAt: number;
  at: number;
}

/** Shared by all contexts: most microVMs have none of these for all their lives. */
export const NONE: readonly never[] = [];

export function initialContext(input: MicrovmInput): MicrovmContext {
  return {
    ...sharedSpec(input.spec, input.specHash),
    hostId: null,
    epoch: 0,
    pid: null,
    network: null,
    attempts: 0,
    excluded: NONE,
    restarts: 0,
    waitMs: 1_000,
    stopTimeoutMs: 0,
    rounds: 0,
    leaseEnded: false,
    reason: null,
    exit: null,
    tuned: NONE,
    tunedAt: 0,
    timings: { requestedAt: input.requestedAt, acceptedAt: input.at },
    ...(input.spec.deleteProtection ? { protected: true } : {}),
    ...(input.spec.ttlSeconds === undefined ? {} : { expiresAt: input.at + input.spec.ttlSeconds * 1_000 }),
  };
}
