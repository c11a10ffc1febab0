import type { Cause, Exit, MicrovmEvent, MicrovmSpec } from '#protocol';
import type { Occasion } from './microvm.decider';
import { applyMicrovmEvents, type MicrovmLife } from './microvm.fold';

/** For tests: lives by the shortest way. */
export const CAUSE: Cause = { kind: 'controller', by: 'test' };
export const ID = '01hzzzzzzzzzzzzzzzzzzzzzzz';
export const HOST = 'host-a';
export const T0 = 1_700_000_000_000;

export function spec(change: Partial<MicrovmSpec> = {}): MicrovmSpec {
  return {
    image: 'canary',
    vcpus: 1,
    memoryMiB: 32,
    cmdline: '',
    labels: {},
    tenant: 'default',
    restartPolicy: 'never',
    onHostLoss: 'keep',
    ...change,
  };
}

export const occasion = (at = T0): Occasion => ({ microvmId: ID, commandId: `c${at}`, cause: CAUSE, at });

export const TIMINGS = {
  receivedAt: T0,
  admittedAt: T0,
  launchedAt: T0,
  vmmEnteredAt: T0,
  guestRunAt: T0,
  guestBootedAt: T0,
};

const HERE = { hostId: HOST, epoch: 1 };

export const EVENTS = {
  requested: (change: Partial<MicrovmSpec> = {}): MicrovmEvent => ({
    type: 'requested',
    spec: spec(change),
    requestedAt: T0,
    specHash: 'hash',
  }),
  placementStarted: { type: 'placementStarted' },
  placed: { type: 'placed', ...HERE, receiptId: 'r1', decidedAt: T0 },
  started: { type: 'started', ...HERE, pid: 4711, timings: TIMINGS },
  snapshotTaken: (as: 'running' | 'paused' = 'running', of = HERE): MicrovmEvent => ({
    type: 'snapshotTaken',
    ...of,
    templateId: 't',
    digest: `sha256:${'0'.repeat(64)}`,
    bytes: 1,
    pauseMs: 1,
    platform: { kvm: 'software' },
    as,
  }),
  suspended: { type: 'suspended', ...HERE, bytes: 1, pauseMs: 1 },
  restoreRequested: { type: 'restoreRequested', hostId: HOST, epoch: 2, requestedAt: T0 },
  exited: (reason: Exit['reason'] = 'powerOff', epoch = 1): MicrovmEvent => ({
    type: 'exited',
    hostId: HOST,
    epoch,
    exit: { reason, message: `the guest ended by ${reason}`, at: T0 },
  }),
  hostLost: { type: 'hostLost', hostId: HOST },
} satisfies Record<string, MicrovmEvent | ((...args: never[]) => MicrovmEvent)>;

/** Folds events, one record each, one ms apart. */
export function live(events: readonly MicrovmEvent[], life: MicrovmLife | null = null, at = T0): MicrovmLife {
  let now = life;
  events.forEach((event, i) => {
    now = { ...applyMicrovmEvents(now, [event], at + i).life, id: ID, revision: (now?.revision ?? 0) + 1 };
  });
  return now!;
}

export function liveUntilRunning(change: Partial<MicrovmSpec> = {}): MicrovmLife {
  return live([EVENTS.requested(change), EVENTS.placementStarted, EVENTS.placed, EVENTS.started]);
}
