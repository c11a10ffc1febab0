import { assign, setup } from 'xstate';
import type { Exit, MicrovmEvent } from '#protocol';
import { initialContext, type MicrovmContext, type MicrovmInput } from './microvm.context';
import type { MicrovmEffect } from './microvm.effects';
import { withTuning } from './microvm.tuning';
import { askAgainAfter, MICROVM_LIMITS, placementBackoff, restartBackoff } from './microvm.limits';

/** Raised whenever a change makes old histories fold differently; records carry the version that accepted them. */
export const MICROVM_MACHINE_VERSION = 1;

/** An event as the machine sees it: with the time of its record. */
export type Timed<E> = E & { at: number };
type MachineEvent = Timed<MicrovmEvent>;
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

const machineSetup = setup({
  types: {
    context: {} as MicrovmContext,
    events: {} as MachineEvent,
    input: {} as MicrovmInput,
  },
  // Effects are data: the pure transition() returns them and the controller does them.
  actions: {
    place: (_, _params: Omit<Extract<MicrovmEffect, { type: 'place' }>, 'type'>) => {},
    startOnHost: (_, _params: Incarnated & { spec: MicrovmContext['spec'] }) => {},
    pauseOnHost: (_, _params: Incarnated) => {},
    resumeOnHost: (_, _params: Incarnated) => {},
    stopOnHost: (_, _params: Incarnated & { timeoutMs: number }) => {},
    eraseOnHost: (_, _params: Incarnated) => {},
    verifyOnHost: (_, _params: Incarnated) => {},

    beginRound: assign(({ event }) => ({
      attempts: 1,
      restarts: 0,
      excluded: [],
      exit: null,
      reason: null,
      ...(event.type === 'startRequested' ? { timings: { requestedAt: event.requestedAt, acceptedAt: event.at } } : {}),
    })),
    countAttempt: assign(({ context }) => ({ attempts: context.attempts + 1, reason: null })),
    rememberPlacement: assign(({ context, event }) => {
      if (event.type !== 'placed') return {};
      const { requestedAt, acceptedAt } = context.timings;
      return {
        hostId: event.hostId,
        epoch: event.epoch,
        pid: null,
        network: null,
        leaseEnded: false,
        tuned: [],
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
            timings: { ...context.timings, ...event.timings, runningAt: event.at },
          }
        : {},
    ),
    rememberPid: assign(({ context, event }) =>
      event.type === 'observed' ? { pid: event.pid ?? context.pid, reason: null } : {},
    ),
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
    waitForRestart: assign(({ context, event }) => ({
      waitMs: restartBackoff(context.restarts),
      restarts: context.restarts + 1,
      attempts: 0,
      excluded: [],
      timings: { requestedAt: event.at, acceptedAt: event.at },
    })),
    waitForCapacity: assign(({ context, event }) => ({
      waitMs: placementBackoff(context.attempts),
      reason: event.type === 'placementFailed' ? event.reason : 'the placement service did not answer in time',
      // Whoever refused may have room by the next try.
      excluded: [],
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
    noteReason: assign(({ event }) => {
      switch (event.type) {
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
    placeAnew: assign(({ event }) => ({
      attempts: 1,
      excluded: [],
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
    attemptsLeft: ({ context }) => context.attempts < MICROVM_LIMITS.placementAttempts,
    mayBePlacedLater: ({ context, event }) =>
      context.attempts < MICROVM_LIMITS.placementAttempts && !(event.type === 'placementFailed' && event.final),
    refusedAndAttemptsLeft: ({ context, event }) =>
      event.type === 'refused' &&
      event.epoch === context.epoch &&
      event.hostId === context.hostId &&
      context.attempts < MICROVM_LIMITS.placementAttempts,
    restarts: ({ context, event }) => {
      if (event.type !== 'exited' && event.type !== 'absent') return false;
      if (event.epoch !== context.epoch || event.hostId !== context.hostId) return false;
      const orderly = event.type === 'exited' && ORDERLY.includes(event.exit.reason);
      return context.spec.restartPolicy === 'always' || (context.spec.restartPolicy === 'on-failure' && !orderly);
    },
    endedInOrder: ({ context, event }) =>
      event.type === 'exited' &&
      event.epoch === context.epoch &&
      event.hostId === context.hostId &&
      ORDERLY.includes(event.exit.reason),
    neverPlaced: ({ context }) => context.hostId === null,
    movesWhenLost: ({ context }) => context.leaseEnded && context.spec.onHostLoss === 'reschedule',
  },
  delays: {
    wait: ({ context }) => context.waitMs,
    placementDeadline: MICROVM_LIMITS.placementDeadline,
    startDeadline: MICROVM_LIMITS.startDeadline,
    pauseDeadline: MICROVM_LIMITS.pauseDeadline,
    stopDeadline: ({ context }) => context.stopTimeoutMs + askAgainAfter(MICROVM_LIMITS.stopGrace, context.rounds),
    eraseDeadline: ({ context }) => askAgainAfter(MICROVM_LIMITS.eraseDeadline, context.rounds),
    leaseMargin: MICROVM_LIMITS.leaseMargin,
    review: MICROVM_LIMITS.review,
    unreachableReview: MICROVM_LIMITS.unreachableReview,
    timeToLive: ({ context }) => (context.spec.ttlSeconds === undefined ? Infinity : context.spec.ttlSeconds * 1_000),
  },
});

/** How the end of an incarnation is taken while nobody asked for it. */
const UNASKED_END = [
  { guard: 'restarts', target: 'requested', actions: ['rememberExit', 'waitForRestart'] },
  { guard: 'endedInOrder', target: 'stopped', actions: 'rememberExit' },
  { guard: 'thisIncarnation', target: 'failed', actions: 'rememberExit' },
] as const;

/** Delete is accepted in every state; a host is asked to clean up only when one was ever chosen. */
const DELETABLE = {
  deleteRequested: [
    { guard: 'neverPlaced', target: 'deleted', actions: 'noteReason' },
    { target: 'deleting', actions: 'noteReason' },
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
/** What may befall an incarnation that has booted. */
const ALIVE = {
  exited: UNASKED_END,
  absent: UNASKED_END,
  hostLost: BECOMES_UNREACHABLE,
  tuned: { guard: 'thisIncarnation', actions: 'rememberTuning' },
  ...ENDABLE,
} as const;

const VERIFY = { type: 'verifyOnHost', params: incarnation } as const;
/** A resting state asks its host now and then whether it is true. */
const REVIEWED = { review: { actions: VERIFY } } as const;
    endedWithItsHost: ({ context, event }) =>
      (event.type === 'absent' || (event.type === 'exited' && WITH_ITS_HOST.includes(event.exit.reason))) &&
      event.epoch === context.epoch &&
      event.hostId === context.hostId &&
      context.spec.onHostLoss === 'reschedule',

const RESTING_DOWN = {
  on: {
    startRequested: { target: 'placing', actions: 'beginRound' },
    ...DELETABLE,
  },
  after: REVIEWED,
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
      { guard: 'neverPlaced', target: '.deleted', actions: 'noteExpired' },
  { guard: 'endedWithItsHost', target: 'placing', actions: ['rememberExit', 'placeAnew'] },
  { guard: 'expired', target: 'deleting', actions: ['rememberExit', 'noteExpired'] },
  { guard: 'restartsUsedUp', target: 'failed', actions: ['rememberExit', 'noteRestartsUsedUp'] },
      { target: '.deleting', actions: 'noteExpired' },
    ],
  },
  states: {
    requested: {
      description: 'Accepted; waits for its turn to be placed.',
      on: { placementStarted: { target: 'placing', actions: 'beginRound' }, ...CANCELLABLE },
      after: {
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
/** There is no live migration: a move is an orderly end here and a new incarnation there. */
const MOVES = { target: 'moving', actions: 'rememberMove' } as const;
const STOP_ON_HOST = {
  type: 'stopOnHost',
  params: ({ context }: { context: Context }) => ({ ...incarnation({ context }), timeoutMs: context.stopTimeoutMs }),
} as const;

          { target: 'failed', actions: 'noteGivenUp' },
        ],
        ...CANCELLABLE,
      },
      after: {
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
        params: ({ context }) => ({ hostId: context.hostId ?? '', epoch: context.epoch, spec: context.spec }),
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
      after: { startDeadline: { target: 'unreachable', actions: 'noteStartOverdue' } },
    },
    running: {
      description: 'Its guest has booted and runs.',
      on: {
        pauseRequested: 'pausing',
        observed: { guard: 'observedPaused', target: 'paused', actions: 'rememberPid' },
        ...ALIVE,
      },
      after: REVIEWED,
    },
    pausing: {
      description: 'Its host was told to park its vCPUs.',
      entry: { type: 'pauseOnHost', params: incarnation },
      on: {
        pausedOnHost: { guard: 'thisIncarnation', target: 'paused', actions: 'clearReason' },
        commandFailed: { guard: 'thisIncarnation', target: 'running', actions: 'noteReason' },
        observed: { guard: 'observedPaused', target: 'paused', actions: 'rememberPid' },
        ...ALIVE,
      },
      after: { pauseDeadline: { target: 'running', actions: ['noteNoAnswer', VERIFY] } },
    },
    paused: {
      description: 'Its vCPUs are parked, its memory stays.',
      on: {
        resumeRequested: 'resuming',
        observed: { guard: 'observedRunning', target: 'running', actions: 'rememberPid' },
        ...ALIVE,
      },
      after: REVIEWED,
    },
    resuming: {
      description: 'Its host was told to let its vCPUs go on.',
      entry: { type: 'resumeOnHost', params: incarnation },
      on: {
        resumedOnHost: { guard: 'thisIncarnation', target: 'running', actions: 'clearReason' },
        commandFailed: { guard: 'thisIncarnation', target: 'paused', actions: 'noteReason' },
        observed: { guard: 'observedRunning', target: 'running', actions: 'rememberPid' },
        ...ALIVE,
      },
      after: { ...SCHEDULED, pauseDeadline: { target: 'paused', actions: ['noteNoAnswer', VERIFY] } },
    },
    moving: {
      description: 'A place on another host is kept for it; its host was told to end it, then it starts there.',
      entry: STOP_ON_HOST,
      on: {
        exited: { guard: 'thisIncarnation', target: 'placing', actions: ['rememberExit', 'goToKeptPlace'] },
        absent: { guard: 'thisIncarnation', target: 'placing', actions: ['rememberExit', 'goToKeptPlace'] },
        hostLost: BECOMES_UNREACHABLE,
        ...ENDABLE,
      },
      after: { stopDeadline: { target: 'moving', reenter: true, actions: 'killInstead' } },
          ...(context.attempts === 0 && context.move
            ? { kept: { hostId: context.move.to, receiptId: context.move.receiptId } }
            : {}),
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
        ],
        refused: { guard: 'thisIncarnation', target: 'failed', actions: 'noteReason' },
        exited: UNASKED_END,
        absent: UNASKED_END,
        hostLost: { guard: 'thisHost', target: 'unreachable', reenter: true, actions: 'noteReason' },
        ...ENDABLE,
      },
      after: {
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
      },
      after: { eraseDeadline: { target: 'deleting', reenter: true, actions: 'askAgain' } },
    },
    deleted: { description: 'Gone for good; its history stays.', type: 'final' },
  },
});

export type MicrovmMachine = typeof microvmMachine;
        moveRequested: MOVES,
        moveRequested: MOVES,
