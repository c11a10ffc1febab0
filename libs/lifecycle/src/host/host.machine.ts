import { assign, setup } from 'xstate';
import type { HostDescription, HostEvent } from '#protocol';
import type { Timed } from '../microvm/microvm.machine';

export const HOST_MACHINE_VERSION = 1;

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

export interface HostContext {
  description: HostDescription | null;
  /** True when an operator keeps new microVMs away, also across a loss of connection. */
  cordoned: boolean;
}

/** The only effect of a host: tell the microVMs there. Who they are is known to the controller. */
export type HostEffect = { type: 'tellHostLost' } | { type: 'tellHostGone' };

const machineSetup = setup({
  types: { context: {} as HostContext, events: {} as Timed<HostEvent>, input: {} as { description: HostDescription } },
  actions: {
    tellHostLost: () => {},
    tellHostGone: () => {},
    describe: assign(({ event }) => (event.type === 'registered' ? { description: event.description } : {})),
    cordon: assign({ cordoned: true }),
    uncordon: assign({ cordoned: false }),
  },
  guards: { cordoned: ({ context }) => context.cordoned },
  delays: { joinDeadline: HOST_LIMITS.joinDeadline, lostAfter: HOST_LIMITS.lostAfter },
});

const BACK = [
  { guard: 'cordoned', target: 'cordoned', actions: 'describe' },
  { target: 'ready', actions: 'describe' },
] as const;
const RETURNS = [{ guard: 'cordoned', target: 'cordoned' }, { target: 'ready' }] as const;
const CORDON_REMEMBERED = {
  cordonRequested: { actions: 'cordon' },
  uncordonRequested: { actions: 'uncordon' },
} as const;

/** The life of one host. Its lease is kept by the controller's clock and renewed by heartbeats, which are no events. */
export const hostMachine = machineSetup.createMachine({
  id: 'host',
  context: ({ input }) => ({
    description: (input as { description?: HostDescription } | undefined)?.description ?? null,
    cordoned: false,
  }),
  initial: 'joining',
  states: {
    joining: {
      description: 'Registered; not yet compared with the histories.',
      on: { admitted: RETURNS, registered: { actions: 'describe' }, retireRequested: 'retired', ...CORDON_REMEMBERED },
      after: { joinDeadline: { target: 'unreachable', actions: 'tellHostLost' } },
    },
    ready: {
      description: 'Takes new microVMs.',
      on: {
        registered: { actions: 'describe' },
        leaseExpired: { target: 'unreachable', actions: 'tellHostLost' },
        cordonRequested: { target: 'cordoned', actions: 'cordon' },
      },
    },
    cordoned: {
      description: 'Keeps its microVMs, takes no new ones.',
      on: {
        registered: { actions: 'describe' },
        leaseExpired: { target: 'unreachable', actions: 'tellHostLost' },
        uncordonRequested: { target: 'ready', actions: 'uncordon' },
      },
    },
    unreachable: {
      description: 'Its lease has ended.',
      on: {
        registered: BACK,

        retireRequested: { target: 'retired', actions: 'tellHostGone' },
        ...CORDON_REMEMBERED,
      },
      after: { lostAfter: { target: 'lost', actions: 'tellHostGone' } },
    },
    lost: {
      description: 'Unreachable for so long that nobody counts on it; it may still return.',
      on: {
        registered: BACK,

        retireRequested: { target: 'retired', actions: 'tellHostGone' },
        ...CORDON_REMEMBERED,
      },
    },
    retired: {
      description: 'Declared gone by an operator; its agent has to register anew.',
      on: { registered: BACK },
    },
  },
});
