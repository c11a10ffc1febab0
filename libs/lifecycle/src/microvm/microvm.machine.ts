import { assign, setup } from 'xstate';
import { stopTimeoutMs, type Exit, type MicrovmEvent } from '#protocol';
import { initialContext, NONE, type MicrovmContext, type MicrovmInput } from './microvm.context';
import type { MicrovmEffect } from './microvm.effects';
import { askAgainAfter, MICROVM_LIMITS, placementBackoff, restartBackoff, snapshotDeadline } from './microvm.limits';
import { expiryOf, isGoodRun, msUntilScheduledStart, msUntilScheduledStop } from './microvm.policies';
import { startedTimings } from './microvm.timings';
import { withTuning } from './microvm.tuning';

/** An event as the machine sees it: with the time of its record, and the version of the machine that accepted it. */
export type Accepted<E> = E & { at: number; machine: number };
type MachineEvent = Accepted<MicrovmEvent>;
type Context = MicrovmContext;
type Incarnated = { hostId: string; epoch: number };

/** Ends in good order. */
const ORDERLY: readonly Exit['reason'][] = ['powerOff', 'reboot', 'requested', 'idle', 'expired'];
/** Ends by a policy of the microVM: no restart policy starts it again. */
const BY_POLICY: readonly Exit['reason'][] = ['idle', 'expired'];

/** Ends for which its host is the reason, not the guest: what is to be rescheduled then starts again, whatever its restart policy. */
const WITH_ITS_HOST: readonly Exit['reason'][] = ['fenced', 'hostRestarted'];

const incarnation = ({ context }: { context: Context }): Incarnated => ({
  hostId: context.hostId ?? '',
  epoch: context.epoch,
});

/** What a host has to know to begin this incarnation, anew or from where it was suspended. */
function beginning({ context }: { context: Context }): Incarnated & { spec: Context['spec']; expiresAt?: number } {
  const expiresAt = expiryOf(context);
  return { ...incarnation({ context }), spec: context.spec, ...(expiresAt === undefined ? {} : { expiresAt }) };
}

/** Whether an end is of this incarnation and one after which the restart policy wants it started again. */
function wantsRestart(context: Context, event: MachineEvent): boolean {
  if (event.type !== 'exited' && event.type !== 'absent') return false;
  if (event.epoch !== context.epoch || event.hostId !== context.hostId) return false;
  const reason = event.type === 'exited' ? event.exit.reason : 'lost';
  if (BY_POLICY.includes(reason)) return false;
  const { restartPolicy } = context.spec;
  return restartPolicy === 'always' || (restartPolicy === 'on-failure' && !ORDERLY.includes(reason));
}

/** Whether its protection is lifted by this event, and its time to live had ended meanwhile. */
function isOverdue({ expiresAt }: Context, event: MachineEvent): boolean {
  return event.type === 'protectionSet' && !event.enabled && expiresAt !== undefined && expiresAt <= event.at;
}

function isThisSnapshot(
  context: Context,
  event: MachineEvent,
): event is Extract<MachineEvent, { type: 'snapshotTaken' }> {
  return (
    event.type === 'snapshotTaken' &&
    event.epoch === context.epoch &&
    event.hostId === context.hostId &&
    event.templateId === context.snapshot?.templateId
  );
}

/** The instant of an event; xstate's own first one has none. */
function atOf(event: MachineEvent, { timings }: Context): number {
  return 'at' in event ? event.at : timings.acceptedAt;
}

/** Until when it waits for a host: counted from the request, whatever hosts refused it in between. */
function waitUntilOf({ spec, timings, placingSince = 0 }: Context): number {
  const waitMs = spec.waitSeconds === undefined ? MICROVM_LIMITS.capacityWait : spec.waitSeconds * 1_000;
  return Math.max(timings.acceptedAt, placingSince) + waitMs;
}

/** Restarts in a row before this end; version 1 counted them from the last start that was asked for. */
function restartsBefore(context: Context, { at, machine }: MachineEvent): number {
  return machine >= 2 && isGoodRun(context, at) ? 0 : context.restarts;
}

const machineSetup = setup({
  types: {
    context: {} as MicrovmContext,
    events: {} as MachineEvent,
    input: {} as MicrovmInput,
  },
  // Effects are data: the pure transition() returns them and the controller does them.
  actions: {
    place: (_, _params: Omit<Extract<MicrovmEffect, { type: 'place' }>, 'type'>) => {},
    startOnHost: (_, _params: Incarnated & { spec: MicrovmContext['spec']; expiresAt?: number }) => {},
    pauseOnHost: (_, _params: Incarnated) => {},
    resumeOnHost: (_, _params: Incarnated) => {},
    snapshotOnHost: (_, _params: Incarnated & { templateId: string }) => {},
    suspendOnHost: (_, _params: Incarnated) => {},
    restoreOnHost: (_, _params: Incarnated & { spec: MicrovmContext['spec']; expiresAt?: number }) => {},
    stopOnHost: (_, _params: Incarnated & { timeoutMs: number }) => {},
    eraseOnHost: (_, _params: Incarnated) => {},
    expireOnHost: (_, _params: Incarnated & { expiresAt: number | null }) => {},
    verifyOnHost: (_, _params: Incarnated) => {},

    beginRound: assign(({ context, event }) => ({
      attempts: 1,
      restarts: 0,
      excluded: NONE,
      exit: null,
      reason: null,
      // Born and asked for are one; a start by an operator or a schedule is asked for anew.
      ...(event.type === 'placementStarted'
        ? {}
        : {
            timings: {
              requestedAt: event.type === 'startRequested' ? event.requestedAt : event.at,
              acceptedAt: event.at,
            },
          }),
      ...(context.spec.schedule ? { upSince: event.at } : {}),
    })),
    countAttempt: assign(({ context, event }) => ({
      attempts: context.attempts + 1,
      reason: null,
      ...(context.attempts === 0 ? { placingSince: event.at } : {}),
    })),
    rememberPlacement: assign(({ context, event }) => {
      if (event.type !== 'placed') return {};
      const { requestedAt, acceptedAt } = context.timings;
      return {
        hostId: event.hostId,
        epoch: event.epoch,
        pid: null,
        network: null,
        leaseEnded: false,
        tuned: NONE,
        reason: null,
        timings: { requestedAt, acceptedAt, placedAt: event.decidedAt },
      };
    }),
    rememberStart: assign(({ context, event }) =>
      event.type === 'started'
        ? {
            pid: event.pid,
            network: event.network ?? null,
            reason: null,
            timings: startedTimings(context.timings, event.timings, event.at),
          }
        : {},
    ),
    rememberPid: assign(({ context, event }) =>
      event.type === 'observed' ? { pid: event.pid ?? context.pid, reason: null } : {},
    ),
    rememberSnapshot: assign(({ event }) =>
      event.type === 'snapshotRequested'
        ? { snapshot: { templateId: event.templateId, afterwards: event.afterwards }, reason: null }
        : {},
    ),
    rememberTaken: assign(({ context: { snapshot }, event }) => {
      if (event.type !== 'snapshotTaken' || !snapshot) return {};
      const { digest, bytes, pauseMs, platform, unusedDisks } = event;
      const taken = { digest, bytes, pauseMs, platform, ...(unusedDisks ? { unusedDisks } : {}) };
      return { snapshot: { ...snapshot, taken }, stopTimeoutMs: 0, rounds: 0 };
    }),
    noteNoSnapshot: assign(({ context: { snapshot }, event }) => {
      const failed = event.type === 'commandFailed' ? event.reason : 'its host did not take it in time';
      return snapshot ? { snapshot: { ...snapshot, failed }, reason: `no template was made of it: ${failed}` } : {};
    }),
    rememberSuspension: assign(({ event }) =>
      event.type === 'suspended' || event.type === 'observed'
        ? { pid: null, network: null, tuned: NONE, reason: event.type === 'suspended' ? (event.reason ?? null) : null }
        : {},
    ),
    rememberRestoration: assign(({ event }) =>
      event.type === 'restoreRequested'
        ? {
            epoch: event.epoch,
            exit: null,
            reason: null,
            timings: { requestedAt: event.requestedAt, acceptedAt: event.at, placedAt: event.at },
          }
        : {},
    ),
    noteNotRestored: assign(({ event }) => ({
      reason: `it could not go on: ${event.type === 'refused' ? event.reason : 'its host did not answer in time'}`,
    })),
    rememberExit: assign(({ event }) => {
      if (event.type === 'exited') return { exit: event.exit, pid: null, network: null, reason: event.exit.message };
      if (event.type === 'absent') {
        const exit: Exit = { reason: 'lost', message: event.reason, at: event.at };
        return { exit, pid: null, network: null, reason: event.reason };
      }
      return {};
    }),
    rememberTuning: assign(({ context, event }) =>
      event.type === 'tuned' ? { tuned: withTuning(context.tuned, event.tuning), tunedAt: event.at } : {},
    ),
    waitForRestart: assign(({ context, event }) => {
      const before = restartsBefore(context, event);
      return {
        waitMs: restartBackoff(before),
        restarts: before + 1,
        attempts: 0,
        excluded: NONE,
        timings: { requestedAt: event.at, acceptedAt: event.at },
      };
    }),
    noteRestartsUsedUp: assign(({ context }) => ({
      reason: `started again ${context.restarts} times in a row, as often as its maxRestarts allows; last: ${context.exit?.message ?? 'unknown'}`,
    })),
    protect: assign(({ event }) => (event.type === 'protectionSet' ? { protected: event.enabled } : {})),
    waitForCapacity: assign(({ context, event }) => ({
      waitMs: placementBackoff(context.attempts),
      reason: event.type === 'placementFailed' ? event.reason : 'the placement service did not answer in time',
      // Whoever refused may have room by the next try.
      excluded: NONE,
    })),
    excludeHost: assign(({ context, event }) =>
      event.type === 'refused'
        ? { attempts: context.attempts + 1, excluded: [...context.excluded, event.hostId], reason: event.reason }
        : {},
    ),
    excludeLostHost: assign(({ context, event }) => ({
      attempts: 1,
      excluded: context.hostId ? [context.hostId] : [],
      timings: { requestedAt: event.at, acceptedAt: event.at },
    })),
    placeAnew: assign(({ event }) => ({
      attempts: 1,
      excluded: NONE,
      timings: { requestedAt: event.at, acceptedAt: event.at },
    })),
    rememberMove: assign(({ context, event }) =>
      event.type === 'moveRequested'
        ? {
            move: { from: context.hostId ?? '', to: event.to, receiptId: event.receiptId, at: event.at },
            stopTimeoutMs: event.graceMs,
            rounds: 0,
            reason: `moves to host ${event.to}`,
          }
        : {},
    ),
    goToKeptPlace: assign(({ context, event }) => ({
      attempts: 0,
      excluded: context.hostId ? [context.hostId] : [],
      timings: { requestedAt: event.at, acceptedAt: event.at },
    })),
    noteReason: assign(({ event }) => {
      switch (event.type) {
        case 'placementWaits':
        case 'placementFailed':
        case 'refused':
        case 'commandFailed':
          return { reason: event.reason };
        case 'hostLost':
          return { reason: `host ${event.hostId} does not answer`, leaseEnded: true };
        case 'deleteRequested':
          return { reason: event.reason ?? null, rounds: 0 };
        case 'hostGone':
          return { reason: event.reason };
        default:
          return {};
      }
    }),
    noteStartOverdue: assign({ reason: 'the host did not report the start in time', leaseEnded: false }),
    noteNoAnswer: assign({ reason: 'the host did not answer in time' }),
    noteGivenUp: assign(({ context, event }) => ({
      reason: `not placed after ${context.attempts} attempts: ${'reason' in event && event.reason ? event.reason : (context.reason ?? 'no answer')}`,
    })),
    noteNeverPlaced: assign({ reason: 'stopped before it was placed' }),
    noteExpired: assign({ reason: 'its time to live is over', rounds: 0 }),
    setStopTimeout: assign(({ event }) => ({
      stopTimeoutMs: event.type === 'stopRequested' ? event.timeoutMs : 0,
      rounds: 0,
    })),
    stopByPlan: assign(({ context }) => ({
      stopTimeoutMs: stopTimeoutMs(context.spec),
      rounds: 0,
      reason: 'stopped by its schedule',
    })),
    noteStoppedByPlan: assign({ reason: 'stopped by its schedule before it was placed' }),
    killInstead: assign(({ context }) => ({
      stopTimeoutMs: 0,
      rounds: context.rounds + 1,
      reason: 'not stopped in time, killing it',
    })),
    askAgain: assign(({ context }) => ({ rounds: context.rounds + 1 })),
    clearReason: assign({ reason: null }),
  },
  guards: {
    nextEpoch: ({ context, event }) => event.type === 'placed' && event.epoch === context.epoch + 1,
    nextEpochElsewhere: ({ context, event }) =>
      event.type === 'placed' &&
      event.epoch === context.epoch + 1 &&
      context.hostId !== null &&
      context.hostId !== event.hostId,
    thisIncarnation: ({ context, event }) =>
      'epoch' in event && event.epoch === context.epoch && event.hostId === context.hostId,
    thisHost: ({ context, event }) => 'hostId' in event && event.hostId === context.hostId,
    observedRunning: ({ context, event }) =>
      event.type === 'observed' &&
      event.as === 'running' &&
      event.epoch === context.epoch &&
      event.hostId === context.hostId,
    observedPaused: ({ context, event }) =>
      event.type === 'observed' &&
      event.as === 'paused' &&
      event.epoch === context.epoch &&
      event.hostId === context.hostId,
    observedSuspended: ({ context, event }) =>
      event.type === 'observed' &&
      event.as === 'suspended' &&
      event.epoch === context.epoch &&
      event.hostId === context.hostId,
    observedSuspendedAgain: ({ context, event }) =>
      event.type === 'observed' &&
      event.as === 'suspended' &&
      event.epoch === context.epoch &&
      event.hostId === context.hostId &&
      context.reason !== null,
    thisSnapshotAndEnds: ({ context, event }) =>
      isThisSnapshot(context, event) && context.snapshot?.afterwards === 'end',
    thisSnapshotAndRuns: ({ context, event }) => isThisSnapshot(context, event) && event.as === 'running',
    thisSnapshot: ({ context, event }) => isThisSnapshot(context, event),
    nextEpochHere: ({ context, event }) =>
      event.type === 'restoreRequested' && event.epoch === context.epoch + 1 && event.hostId === context.hostId,
    attemptsLeft: ({ context }) => context.attempts < MICROVM_LIMITS.placementAttempts,
    noPlaceInTime: ({ event }) => event.type === 'placementFailed' && event.final && event.machine >= 2,
    mayBePlacedLater: ({ context, event }) =>
      context.attempts < MICROVM_LIMITS.placementAttempts && !(event.type === 'placementFailed' && event.final),
    refusedAndAttemptsLeft: ({ context, event }) =>
      event.type === 'refused' &&
      event.epoch === context.epoch &&
      event.hostId === context.hostId &&
      context.attempts < MICROVM_LIMITS.placementAttempts,
    restarts: ({ context, event }) => wantsRestart(context, event),
    restartsUsedUp: ({ context, event }) =>
      wantsRestart(context, event) &&
      context.spec.maxRestarts !== undefined &&
      restartsBefore(context, event) >= context.spec.maxRestarts,
    expired: ({ context, event }) =>
      event.type === 'exited' &&
      event.epoch === context.epoch &&
      event.hostId === context.hostId &&
      event.exit.reason === 'expired' &&
      !context.protected,
    unprotected: ({ context }) => !context.protected,
    neverPlacedAndUnprotected: ({ context }) => context.hostId === null && !context.protected,
    isOverdueAndNeverPlaced: ({ context, event }) => context.hostId === null && isOverdue(context, event),
    expires: ({ context }) => context.hostId !== null && context.expiresAt !== undefined,
    isOverdue: ({ context, event }) => isOverdue(context, event),
    endedInOrder: ({ context, event }) =>
      event.type === 'exited' &&
      event.epoch === context.epoch &&
      event.hostId === context.hostId &&
      ORDERLY.includes(event.exit.reason),
    endedWithItsHost: ({ context, event }) =>
      (event.type === 'absent' || (event.type === 'exited' && WITH_ITS_HOST.includes(event.exit.reason))) &&
      event.epoch === context.epoch &&
      event.hostId === context.hostId &&
      context.spec.onHostLoss === 'reschedule' &&
      event.machine >= 2,
    neverPlaced: ({ context }) => context.hostId === null,
    movesWhenLost: ({ context }) => context.leaseEnded && context.spec.onHostLoss === 'reschedule',
  },
  delays: {
    wait: ({ context }) => context.waitMs,
    placementDeadline: ({ context, event }) =>
      Math.max(0, waitUntilOf(context) - atOf(event, context)) + MICROVM_LIMITS.placementDeadline,
    startDeadline: MICROVM_LIMITS.startDeadline,
    pauseDeadline: MICROVM_LIMITS.pauseDeadline,
    snapshotDeadline: ({ context }) => snapshotDeadline(context.spec.memoryMiB),
    stopDeadline: ({ context }) => context.stopTimeoutMs + askAgainAfter(MICROVM_LIMITS.stopGrace, context.rounds),
    eraseDeadline: ({ context }) => askAgainAfter(MICROVM_LIMITS.eraseDeadline, context.rounds),
    leaseMargin: MICROVM_LIMITS.leaseMargin,
    review: MICROVM_LIMITS.review,
    unreachableReview: MICROVM_LIMITS.unreachableReview,
    timeToLive: ({ context }) => (context.spec.ttlSeconds === undefined ? Infinity : context.spec.ttlSeconds * 1_000),
    scheduledStart: ({ context, event }) => msUntilScheduledStart(context, atOf(event, context)),
    scheduledStop: ({ context, event }) => msUntilScheduledStop(context, atOf(event, context)),
  },
});

/** Its host has ended it because its time to live is over. */
const EXPIRED = { guard: 'expired', target: 'deleting', actions: ['rememberExit', 'noteExpired'] } as const;

/** How the end of an incarnation is taken while nobody asked for it. */
const UNASKED_END = [
  { guard: 'endedWithItsHost', target: 'placing', actions: ['rememberExit', 'placeAnew'] },
  EXPIRED,
  { guard: 'restartsUsedUp', target: 'failed', actions: ['rememberExit', 'noteRestartsUsedUp'] },
  { guard: 'restarts', target: 'requested', actions: ['rememberExit', 'waitForRestart'] },
  { guard: 'endedInOrder', target: 'stopped', actions: 'rememberExit' },
  { guard: 'thisIncarnation', target: 'failed', actions: 'rememberExit' },
] as const;

/** Delete is accepted in every state, unless it is protected; a host is asked to clean up only when one was ever chosen. */
const DELETABLE = {
  deleteRequested: [
    { guard: 'neverPlacedAndUnprotected', target: 'deleted', actions: 'noteReason' },
    { guard: 'unprotected', target: 'deleting', actions: 'noteReason' },
  ],
} as const;

/** What an operator may always ask of an incarnation that may be alive. */
const ENDABLE = {
  stopRequested: { target: 'stopping', actions: 'setStopTimeout' },
  killRequested: { target: 'stopping', actions: 'setStopTimeout' },
  ...DELETABLE,
} as const;

/** The same before there is an incarnation. */
const CANCELLABLE = {
  stopRequested: { target: 'stopped', actions: 'noteNeverPlaced' },
  killRequested: { target: 'stopped', actions: 'noteNeverPlaced' },
  ...DELETABLE,
} as const;

const BECOMES_UNREACHABLE = { guard: 'thisHost', target: 'unreachable', actions: 'noteReason' } as const;
/** Its host may do it on its own account, so it may come at any time. */
const SUSPENDED = { guard: 'thisIncarnation', target: 'suspended', actions: 'rememberSuspension' } as const;
const OBSERVED_SUSPENDED = { guard: 'observedSuspended', target: 'suspended', actions: 'rememberSuspension' } as const;
/** What may befall an incarnation that has booted. */
const ALIVE = {
  suspended: SUSPENDED,
  exited: UNASKED_END,
  absent: UNASKED_END,
  hostLost: BECOMES_UNREACHABLE,
  tuned: { guard: 'thisIncarnation', actions: 'rememberTuning' },
  ...ENDABLE,
} as const;

/** There is no live migration: a move is an orderly end here and a new incarnation there. */
const MOVES = { target: 'moving', actions: 'rememberMove' } as const;
const STOP_ON_HOST = {
  type: 'stopOnHost',
  params: ({ context }: { context: Context }) => ({ ...incarnation({ context }), timeoutMs: context.stopTimeoutMs }),
} as const;

/** What it does after its snapshot is for its host to say. */
const TAKEN = [
  { guard: 'thisSnapshotAndEnds', target: 'stopping', actions: 'rememberTaken' },
  { guard: 'thisSnapshotAndRuns', target: 'running', actions: 'rememberTaken' },
  { guard: 'thisSnapshot', target: 'paused', actions: 'rememberTaken' },
] as const;
const SNAPSHOTS = { target: 'snapshotting', actions: 'rememberSnapshot' } as const;

const VERIFY = { type: 'verifyOnHost', params: incarnation } as const;
/** A resting state asks its host now and then whether it is true. */
const REVIEWED = { review: { actions: VERIFY } } as const;
/** What its schedule does to an incarnation that may be alive. */
const SCHEDULED = { scheduledStop: { target: 'stopping', actions: 'stopByPlan' } } as const;
/** The same before there is an incarnation. */
const SCHEDULED_EARLY = { scheduledStop: { target: 'stopped', actions: 'noteStoppedByPlan' } } as const;

const RESTING_DOWN = {
  on: {
    startRequested: { target: 'placing', actions: 'beginRound' },
    ...DELETABLE,
  },
  after: { ...REVIEWED, scheduledStart: { target: 'placing', actions: 'beginRound' } },
} as const;

/**
 * The life of one microVM. States that wait for somebody (placement, host) carry the effect that asks them on entry and
 * a deadline; resting states are reviewed; `deleteRequested` is accepted everywhere and `deleted` is the only end.
 */
export const microvmMachine = machineSetup.createMachine({
  id: 'microvm',
  context: ({ input }) => initialContext((input as MicrovmInput | undefined) ?? ({ spec: {} } as MicrovmInput)),
  initial: 'requested',
  // Counts from creation, whatever happens in between.
  after: {
    timeToLive: [
      { guard: 'neverPlacedAndUnprotected', target: '.deleted', actions: 'noteExpired' },
      { guard: 'unprotected', target: '.deleting', actions: 'noteExpired' },
    ],
  },
  on: {
    protectionSet: [
      { guard: 'isOverdueAndNeverPlaced', target: '.deleted', actions: ['protect', 'noteExpired'] },
      { guard: 'isOverdue', target: '.deleting', actions: ['protect', 'noteExpired'] },
      {
        guard: 'expires',
        actions: [
          'protect',
          {
            type: 'expireOnHost',
            params: ({ context }) => ({ ...incarnation({ context }), expiresAt: expiryOf(context) ?? null }),
          },
        ],
      },
      { actions: 'protect' },
    ],
  },
  states: {
    requested: {
      description: 'Accepted; waits for its turn to be placed.',
      on: { placementStarted: { target: 'placing', actions: 'beginRound' }, ...CANCELLABLE },
      after: {
        ...SCHEDULED_EARLY,
        wait: [
          { guard: 'attemptsLeft', target: 'placing', actions: 'countAttempt' },
          { target: 'failed', actions: 'noteGivenUp' },
        ],
      },
    },
    placing: {
      description: 'A host is being chosen.',
      entry: {
        type: 'place',
        params: ({ context }) => ({
          epoch: context.epoch + 1,
          attempt: context.attempts,
          excluded: context.excluded,
          spec: context.spec,
          waitUntil: waitUntilOf(context),
          ...(context.attempts === 0 && context.move
            ? { kept: { hostId: context.move.to, receiptId: context.move.receiptId, at: context.move.at } }
            : {}),
        }),
      },
      on: {
        placed: [
          {
            guard: 'nextEpochElsewhere',
            target: 'starting',
            // What the incarnation before left on its host is of no use to this one.
            actions: [{ type: 'eraseOnHost', params: incarnation }, 'rememberPlacement'],
          },
          { guard: 'nextEpoch', target: 'starting', actions: 'rememberPlacement' },
        ],
        placementFailed: [
          { guard: 'mayBePlacedLater', target: 'requested', actions: 'waitForCapacity' },
          { guard: 'noPlaceInTime', target: 'failed', actions: 'noteReason' },
          { target: 'failed', actions: 'noteGivenUp' },
        ],
        placementWaits: { actions: 'noteReason' },
        ...CANCELLABLE,
      },
      after: {
        ...SCHEDULED_EARLY,
        placementDeadline: [
          { guard: 'attemptsLeft', target: 'requested', actions: 'waitForCapacity' },
          { target: 'failed', actions: 'noteGivenUp' },
        ],
      },
    },
    starting: {
      description: 'Its host was told to start it.',
      entry: {
        type: 'startOnHost',
        params: beginning,
      },
      on: {
        started: { guard: 'thisIncarnation', target: 'running', actions: 'rememberStart' },
        refused: [
          { guard: 'refusedAndAttemptsLeft', target: 'placing', actions: 'excludeHost' },
          { guard: 'thisIncarnation', target: 'failed', actions: 'noteGivenUp' },
        ],
        observed: { guard: 'observedRunning', target: 'running', actions: 'rememberPid' },
        exited: UNASKED_END,
        hostLost: BECOMES_UNREACHABLE,
        ...ENDABLE,
      },
      after: { ...SCHEDULED, startDeadline: { target: 'unreachable', actions: 'noteStartOverdue' } },
    },
    running: {
      description: 'Its guest has booted and runs.',
      on: {
        pauseRequested: 'pausing',
        snapshotRequested: SNAPSHOTS,
        suspendRequested: 'suspending',
        moveRequested: MOVES,
        observed: [{ guard: 'observedPaused', target: 'paused', actions: 'rememberPid' }, OBSERVED_SUSPENDED],
        ...ALIVE,
      },
      after: { ...REVIEWED, ...SCHEDULED },
    },
    pausing: {
      description: 'Its host was told to park its vCPUs.',
      entry: { type: 'pauseOnHost', params: incarnation },
      on: {
        pausedOnHost: { guard: 'thisIncarnation', target: 'paused', actions: 'clearReason' },
        commandFailed: { guard: 'thisIncarnation', target: 'running', actions: 'noteReason' },
        observed: [{ guard: 'observedPaused', target: 'paused', actions: 'rememberPid' }, OBSERVED_SUSPENDED],
        ...ALIVE,
      },
      after: { ...SCHEDULED, pauseDeadline: { target: 'running', actions: ['noteNoAnswer', VERIFY] } },
    },
    paused: {
      description: 'Its vCPUs are parked, its memory stays.',
      on: {
        resumeRequested: 'resuming',
        snapshotRequested: SNAPSHOTS,
        suspendRequested: 'suspending',
        moveRequested: MOVES,
        observed: [{ guard: 'observedRunning', target: 'running', actions: 'rememberPid' }, OBSERVED_SUSPENDED],
        ...ALIVE,
      },
      after: { ...REVIEWED, ...SCHEDULED },
    },
    resuming: {
      description: 'Its host was told to let its vCPUs go on.',
      entry: { type: 'resumeOnHost', params: incarnation },
      on: {
        resumedOnHost: { guard: 'thisIncarnation', target: 'running', actions: 'clearReason' },
        commandFailed: { guard: 'thisIncarnation', target: 'paused', actions: 'noteReason' },
        observed: [{ guard: 'observedRunning', target: 'running', actions: 'rememberPid' }, OBSERVED_SUSPENDED],
        ...ALIVE,
      },
      after: { ...SCHEDULED, pauseDeadline: { target: 'paused', actions: ['noteNoAnswer', VERIFY] } },
    },
    snapshotting: {
      description: 'Its host was told to take a snapshot of it as a template.',
      entry: {
        type: 'snapshotOnHost',
        params: ({ context }) => ({ ...incarnation({ context }), templateId: context.snapshot?.templateId ?? '' }),
      },
      on: {
        snapshotTaken: TAKEN,
        // Whether it was paused before is for its host to say.
        commandFailed: { guard: 'thisIncarnation', target: 'running', actions: ['noteNoSnapshot', VERIFY] },
        ...ALIVE,
      },
      after: { ...SCHEDULED, snapshotDeadline: { target: 'running', actions: ['noteNoSnapshot', VERIFY] } },
    },
    suspending: {
      description: 'Its host was told to put its memory on the disk.',
      entry: { type: 'suspendOnHost', params: incarnation },
      on: {
        commandFailed: { guard: 'thisIncarnation', target: 'running', actions: ['noteReason', VERIFY] },
        observed: OBSERVED_SUSPENDED,
        ...ALIVE,
      },
      after: { ...SCHEDULED, snapshotDeadline: { target: 'running', actions: ['noteNoAnswer', VERIFY] } },
    },
    suspended: {
      description: 'Its memory and disks are on its host, its place there is for others.',
      on: {
        restoreRequested: { guard: 'nextEpochHere', target: 'restoring', actions: 'rememberRestoration' },
        observed: { guard: 'observedSuspendedAgain', actions: 'clearReason' },
        // There is nothing left that could go on, and what it was is not for a restart policy to throw away.
        exited: [EXPIRED, { guard: 'thisIncarnation', target: 'failed', actions: 'rememberExit' }],
        absent: { guard: 'thisIncarnation', target: 'failed', actions: 'rememberExit' },
        hostLost: { guard: 'thisHost', actions: 'noteReason' },
        hostGone: { guard: 'thisHost', target: 'failed', actions: 'noteReason' },
        ...ENDABLE,
      },
      after: REVIEWED,
    },
    restoring: {
      description: 'Its host was told to let it go on from where it was suspended.',
      entry: {
        type: 'restoreOnHost',
        params: beginning,
      },
      on: {
        started: { guard: 'thisIncarnation', target: 'running', actions: 'rememberStart' },
        // Nothing was begun, and nothing is lost.
        refused: { guard: 'thisIncarnation', target: 'suspended', actions: 'noteNotRestored' },
        observed: { guard: 'observedRunning', target: 'running', actions: 'rememberPid' },
        exited: UNASKED_END,
        absent: UNASKED_END,
        hostLost: BECOMES_UNREACHABLE,
        ...ENDABLE,
      },
      after: { ...SCHEDULED, startDeadline: { target: 'unreachable', actions: 'noteStartOverdue' } },
    },
    moving: {
      description: 'A place on another host is kept for it; its host was told to end it, then it starts there.',
      entry: STOP_ON_HOST,
      on: {
        exited: [EXPIRED, { guard: 'thisIncarnation', target: 'placing', actions: ['rememberExit', 'goToKeptPlace'] }],
        absent: { guard: 'thisIncarnation', target: 'placing', actions: ['rememberExit', 'goToKeptPlace'] },
        hostLost: BECOMES_UNREACHABLE,
        ...ENDABLE,
      },
      after: { ...SCHEDULED, stopDeadline: { target: 'moving', reenter: true, actions: 'killInstead' } },
    },
    stopping: {
      description: 'Its host was told to end it: by the power button first, by force when that takes too long.',
      entry: STOP_ON_HOST,
      on: {
        exited: { guard: 'thisIncarnation', target: 'stopped', actions: 'rememberExit' },
        absent: { guard: 'thisIncarnation', target: 'stopped', actions: 'rememberExit' },
        killRequested: { target: 'stopping', reenter: true, actions: 'setStopTimeout' },
        ...DELETABLE,
      },
      after: { stopDeadline: { target: 'stopping', reenter: true, actions: 'killInstead' } },
    },
    stopped: { description: 'It ended in order; it can be started again.', ...RESTING_DOWN },
    failed: { description: 'It ended, or never began, for a bad reason; it can be started again.', ...RESTING_DOWN },
    unreachable: {
      description: 'Its host does not answer; it may well be running there.',
      on: {
        started: { guard: 'thisIncarnation', target: 'running', actions: 'rememberStart' },
        pausedOnHost: { guard: 'thisIncarnation', target: 'paused', actions: 'clearReason' },
        resumedOnHost: { guard: 'thisIncarnation', target: 'running', actions: 'clearReason' },
        observed: [
          { guard: 'observedRunning', target: 'running', actions: 'rememberPid' },
          { guard: 'observedPaused', target: 'paused', actions: 'rememberPid' },
          OBSERVED_SUSPENDED,
        ],
        snapshotTaken: TAKEN,
        suspended: SUSPENDED,
        refused: { guard: 'thisIncarnation', target: 'failed', actions: 'noteReason' },
        exited: UNASKED_END,
        absent: UNASKED_END,
        hostLost: { guard: 'thisHost', target: 'unreachable', reenter: true, actions: 'noteReason' },
        ...ENDABLE,
      },
      after: {
        ...SCHEDULED,
        unreachableReview: { actions: VERIFY },
        leaseMargin: { guard: 'movesWhenLost', target: 'placing', actions: 'excludeLostHost' },
      },
    },
    deleting: {
      description: 'Its host was told to remove all of it.',
      entry: { type: 'eraseOnHost', params: incarnation },
      on: {
        erased: { guard: 'thisIncarnation', target: 'deleted' },
        absent: { guard: 'thisIncarnation', target: 'deleted' },
        hostGone: { guard: 'thisHost', target: 'deleted', actions: 'noteReason' },
        // Too late.
        protectionSet: {},
      },
      after: { eraseDeadline: { target: 'deleting', reenter: true, actions: 'askAgain' } },
    },
    deleted: { description: 'Gone for good; its history stays.', type: 'final' },
  },
});

export type MicrovmMachine = typeof microvmMachine;
