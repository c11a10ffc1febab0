import { assign, setup } from 'xstate';
import type { Drain, DrainProgress, HostDescription, HostEvent, HostStateName, PolicyHeld } from '#protocol';
import type { Accepted } from '../microvm/microvm.machine';

/** As for microVMs: see MICROVM_MACHINE_VERSION. */
export const HOST_MACHINE_VERSION = 3;

/** Bounds of a host's life, in ms. */
export const HOST_LIMITS = {
  /** Without a renewed lease for this long a host is unreachable. Its agent acts on the same number. */
  lease: 6_000,
  heartbeat: 1_000,
  /** A host that registered but never became ready. */
  joinDeadline: 30_000,
  /** Unreachable for this long means lost: what was being deleted there counts as deleted. */
  lostAfter: 600_000,
  review: 3_600_000,
} as const;

/** How often a host of a fleet of so many is to be heard, ms: three times a lease at least, and large fleets no more often than that. */
export function heartbeatMs(hosts: number): number {
  return hosts <= 250 ? HOST_LIMITS.heartbeat : HOST_LIMITS.lease / 3;
}

export interface HostContext {
  description: HostDescription | null;
  /** True when an operator keeps new microVMs away, also across a loss of connection and behind a drain. */
  cordoned: boolean;
  /** Asked for and not cancelled, also across a loss of connection. */
  drain: Drain | null;
  /** The class that an operator has put it into; null: its agent says. */
  assignedClass: string | null;
  /** What it has said it goes by. */
  policy: PolicyHeld | null;
  /** The last batch of acts of its guards: a host tells one until it is answered, and the next one only then. */
  lastBatch: string | null;
}

const NOTHING_YET: DrainProgress = { total: 0, moved: 0, moving: 0, waiting: 0, stopped: 0, failed: 0 };

/** Whether a host in this state holds a lease: it is heard, and what it holds is known. */
export const isPresent = (state: HostStateName): boolean =>
  state === 'ready' || state === 'cordoned' || state === 'draining' || state === 'drained';

/** The only effect of a host: tell the microVMs there. Who they are is known to the controller. */
export type HostEffect = { type: 'tellHostLost' } | { type: 'tellHostGone' };

const machineSetup = setup({
  types: {
    context: {} as HostContext,
    events: {} as Accepted<HostEvent>,
    input: {} as { description: HostDescription },
  },
  actions: {
    tellHostLost: () => {},
    tellHostGone: () => {},
    describe: assign(({ event }) => (event.type === 'registered' ? { description: event.description } : {})),
    cordon: assign({ cordoned: true }),
    uncordon: assign({ cordoned: false }),
    drain: assign(({ context, event }) => {
      if (event.type !== 'drainRequested') return {};
      const { parallel, graceMs, kept } = event;
      const { requestedAt, progress } = context.drain ?? { requestedAt: event.at, progress: NOTHING_YET };
      return { drain: { parallel, graceMs, kept, requestedAt, progress } };
    }),
    endDrain: assign({ drain: null }),
    noteProgress: assign(({ context, event }) =>
      event.type === 'drainProgressed' && context.drain
        ? { drain: { ...context.drain, progress: event.progress } }
        : {},
    ),
    assignClass: assign(({ event }) => (event.type === 'classAssigned' ? { assignedClass: event.hostClass } : {})),
    applyPolicy: assign(({ event }) => (event.type === 'policyApplied' ? { policy: event.policy } : {})),
    noteBatch: assign(({ event }) => (event.type === 'guardsActed' ? { lastBatch: event.batch } : {})),
  },
  guards: {
    cordoned: ({ context }) => context.cordoned,
    drains: ({ context }) => context.drain !== null,
    drainsNot: ({ context }) => context.drain === null,
    isNews: ({ context, event }) => event.type === 'guardsActed' && event.batch !== context.lastBatch,
  },
  delays: { joinDeadline: HOST_LIMITS.joinDeadline, lostAfter: HOST_LIMITS.lostAfter },
});

// A drain that was complete is looked at again: what came meanwhile is for whoever runs it to find.
const BACK = [
  { guard: 'drains', target: 'draining', actions: 'describe' },
  { guard: 'cordoned', target: 'cordoned', actions: 'describe' },
  { target: 'ready', actions: 'describe' },
] as const;
const RETURNS = [
  { guard: 'drains', target: 'draining' },
  { guard: 'cordoned', target: 'cordoned' },
  { target: 'ready' },
] as const;
/** What operators may ask of a host that is not there: it holds when it is back. */
const REMEMBERED = {
  cordonRequested: { actions: 'cordon' },
  uncordonRequested: { guard: 'drainsNot', actions: 'uncordon' },
  drainRequested: { actions: 'drain' },
  drainCancelled: { guard: 'drains', actions: 'endDrain' },
} as const;
const BECOMES_UNREACHABLE = { target: 'unreachable', actions: 'tellHostLost' } as const;
/** What befalls and is asked of a host that is being emptied, or is empty. */
const EMPTIED = {
  registered: { actions: 'describe' },
  leaseExpired: BECOMES_UNREACHABLE,
  cordonRequested: { actions: 'cordon' },
  // Also behind the end: what was moved may still be on its way to run.
  drainProgressed: { actions: 'noteProgress' },
  drainCancelled: [
    { guard: 'cordoned', target: 'cordoned', actions: 'endDrain' },
    { target: 'ready', actions: 'endDrain' },
  ],
} as const;

/** The life of one host. Its lease is kept by the controller's clock and renewed by heartbeats, which are no events. */
export const hostMachine = machineSetup.createMachine({
  id: 'host',
  context: ({ input }) => ({
    description: (input as { description?: HostDescription } | undefined)?.description ?? null,
    cordoned: false,
    drain: null,
    assignedClass: null,
    policy: null,
    lastBatch: null,
  }),
  initial: 'joining',
  // Whatever its state: the first is an operator's, the others are told by the host, whose agent may be ahead of what is known of it.
  on: {
    classAssigned: { actions: 'assignClass' },
    policyApplied: { actions: 'applyPolicy' },
    guardsActed: { guard: 'isNews', actions: 'noteBatch' },
  },
  states: {
    joining: {
      description: 'Registered; not yet compared with the histories.',
      on: { admitted: RETURNS, registered: { actions: 'describe' }, retireRequested: 'retired', ...REMEMBERED },
      after: { joinDeadline: BECOMES_UNREACHABLE },
    },
    ready: {
      description: 'Takes new microVMs.',
      on: {
        registered: { actions: 'describe' },
        leaseExpired: BECOMES_UNREACHABLE,
        cordonRequested: { target: 'cordoned', actions: 'cordon' },
        drainRequested: { target: 'draining', actions: 'drain' },
      },
    },
    cordoned: {
      description: 'Keeps its microVMs, takes no new ones.',
      on: {
        registered: { actions: 'describe' },
        leaseExpired: BECOMES_UNREACHABLE,
        uncordonRequested: { target: 'ready', actions: 'uncordon' },
        drainRequested: { target: 'draining', actions: 'drain' },
      },
    },
    draining: {
      description: 'Takes no new microVMs; those there are moved, stopped or waited for.',
      on: {
        ...EMPTIED,
        drainRequested: { actions: 'drain' },
        drainCompleted: 'drained',
      },
    },
    drained: {
      description: 'Nothing runs there and nothing new comes, until the drain is cancelled.',
      on: {
        ...EMPTIED,
        drainRequested: { target: 'draining', actions: 'drain' },
        drainReopened: 'draining',
      },
    },
    unreachable: {
      description: 'Its lease has ended.',
      on: {
        registered: BACK,
        retireRequested: { target: 'retired', actions: 'tellHostGone' },
        ...REMEMBERED,
      },
      after: { lostAfter: { target: 'lost', actions: 'tellHostGone' } },
    },
    lost: {
      description: 'Unreachable for so long that nobody counts on it; it may still return.',
      on: {
        registered: BACK,
        retireRequested: { target: 'retired', actions: 'tellHostGone' },
        ...REMEMBERED,
      },
    },
    retired: {
      description: 'Declared gone by an operator; its agent has to register anew.',
      on: { registered: BACK },
    },
  },
});
