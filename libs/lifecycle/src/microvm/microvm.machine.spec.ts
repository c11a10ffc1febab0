import { getShortestPaths } from 'xstate/graph';
import { MICROVM_STATES, type MicrovmEvent } from '#protocol';
import { microvmContext, microvmState } from './microvm.fold';
import { EVENTS, HOST, live, liveUntilRunning, spec, T0 } from './microvm.fixtures';
import { microvmMachine } from './microvm.machine';
import { MICROVM_MACHINE_VERSION } from './microvm.versions';

const HERE = { hostId: HOST, epoch: 1 };

/** One of each event as it may come for the first incarnation, so that the graph is finite. */
const ALPHABET: MicrovmEvent[] = [
  { type: 'placementStarted' },
  EVENTS.placed,
  { type: 'placementFailed', reason: 'no capacity', final: true },
  { type: 'pauseRequested' },
  { type: 'resumeRequested' },
  { type: 'stopRequested', timeoutMs: 1_000 },
  { type: 'killRequested' },
  { type: 'deleteRequested' },
  { type: 'moveRequested', to: 'host-b', receiptId: 'r2', graceMs: 1_000 },
  { type: 'snapshotRequested', templateId: 't', afterwards: 'resume' },
  EVENTS.snapshotTaken(),
  { type: 'suspendRequested' },
  EVENTS.suspended,
  EVENTS.restoreRequested,
  EVENTS.hostLost,
  EVENTS.started,
  { type: 'pausedOnHost', ...HERE },
  { type: 'resumedOnHost', ...HERE },
  EVENTS.exited('powerOff'),
  EVENTS.exited('panic'),
  { type: 'absent', ...HERE, reason: 'not here' },
  { type: 'erased', ...HERE },
];

function walk() {
  const paths = getShortestPaths(microvmMachine, {
    input: { spec: spec(), specHash: 'hash', requestedAt: T0, at: T0 },
    events: ALPHABET.map((event) => ({ ...event, at: T0, machine: MICROVM_MACHINE_VERSION })),
    // Attempts, reasons and the like do not make another state.
    serializeState: (snapshot) => `${String(snapshot.value)} ${snapshot.context.hostId ? 'placed' : 'nowhere'}`,
  });
  return paths.map((path) => ({ path, state: path.state }));
}

describe('the microVM machine', () => {
  it('reaches every state by legal events', () => {
    const reached = new Set(walk().map(({ state }) => String(state.value)));
    expect([...reached].sort()).toEqual([...MICROVM_STATES].sort());
  });

  it('leads from every reachable state to deleted, by a delete and a word from the host', () => {
    for (const { path } of walk()) {
      const events = path.steps
        .map(({ event }) => event as unknown as MicrovmEvent)
        .filter(({ type }) => !type.startsWith('xstate'));
      const life = live([EVENTS.requested(), ...events]);
      if (microvmState(life) === 'deleted') continue;
      const deleting = microvmState(life) === 'deleting' ? life : live([{ type: 'deleteRequested' }], life);
      if (microvmState(deleting) === 'deleted') continue;
      expect(microvmState(deleting)).toBe('deleting');
      expect(deleting.outstanding).toEqual([{ type: 'eraseOnHost', hostId: HOST, epoch: microvmContext(life).epoch }]);
      const { epoch } = microvmContext(life);
      expect(microvmState(live([{ type: 'erased', hostId: HOST, epoch }], deleting))).toBe('deleted');
    }
  });

  it('has a deadline in every state but deleted', () => {
    for (const { path, state } of walk()) {
      const events = path.steps
        .map(({ event }) => event as unknown as MicrovmEvent)
        .filter(({ type }) => !type.startsWith('xstate'));
      const life = live([EVENTS.requested(), ...events]);
      if (state.value === 'deleted') expect([...life.timers].map(({ name }) => name)).toEqual([]);
      else expect(life.timers.size).toBeGreaterThan(0);
    }
  });

  it('asks somebody in every state that waits for somebody', () => {
    const asked = {
      placing: 'place',
      starting: 'startOnHost',
      pausing: 'pauseOnHost',
      resuming: 'resumeOnHost',
      snapshotting: 'snapshotOnHost',
      suspending: 'suspendOnHost',
      restoring: 'restoreOnHost',
      moving: 'stopOnHost',
      stopping: 'stopOnHost',
    };
    for (const { path } of walk()) {
      const events = path.steps
        .map(({ event }) => event as unknown as MicrovmEvent)
        .filter(({ type }) => !type.startsWith('xstate'));
      const life = live([EVENTS.requested(), ...events]);
      const effect = asked[microvmState(life) as keyof typeof asked];
      if (effect) expect(life.outstanding.map(({ type }) => type)).toEqual([effect]);
    }
  });
});

describe('a start', () => {
  it('goes through placement and host to running', () => {
    const life = liveUntilRunning();
    expect(microvmState(life)).toBe('running');
    expect(microvmContext(life)).toMatchObject({ hostId: HOST, epoch: 1, pid: 4711 });
  });

  it('moves on to another placement when the host refuses, and never asks that host again in this round', () => {
    const life = live([
      EVENTS.requested(),
      EVENTS.placementStarted,
      EVENTS.placed,
      { type: 'refused', ...HERE, reason: 'full' },
    ]);
    expect(microvmState(life)).toBe('placing');
    expect(life.outstanding).toMatchObject([{ type: 'place', epoch: 2, attempt: 2, excluded: [HOST] }]);
  });

  it('is given up after a bounded number of attempts, with the last reason', () => {
    let life = live([EVENTS.requested(), EVENTS.placementStarted]);
    let rounds = 0;
    while (microvmState(life) !== 'failed') {
      life = live([{ type: 'placementFailed', reason: 'no host has registered', final: false }], life);
      if (microvmState(life) === 'requested') life = live([{ type: 'deadlinePassed', timer: 'wait' }], life);
      expect(++rounds).toBeLessThan(50);
    }
    expect(microvmContext(life).reason).toBe('not placed after 8 attempts: no host has registered');
  });

  it('that nobody reports becomes unreachable, not failed: it may be running', () => {
    const life = live([
      EVENTS.requested(),
      EVENTS.placementStarted,
      EVENTS.placed,
      { type: 'deadlinePassed', timer: 'startDeadline' },
    ]);
    expect(microvmState(life)).toBe('unreachable');
    expect(microvmState(live([EVENTS.started], life))).toBe('running');
  });
});

describe('an end nobody asked for', () => {
  it.each([
    ['never', 'powerOff', 'stopped'],
    ['never', 'panic', 'failed'],
    ['on-failure', 'powerOff', 'stopped'],
    ['on-failure', 'panic', 'requested'],
    ['always', 'powerOff', 'requested'],
  ] as const)('with restart policy %s and exit %s leads to %s', (restartPolicy, reason, state) => {
    expect(microvmState(live([EVENTS.exited(reason)], liveUntilRunning({ restartPolicy })))).toBe(state);
  });

  it('restarts with growing waits', () => {
    const once = live([EVENTS.exited('panic')], liveUntilRunning({ restartPolicy: 'always' }));
    expect(once.timers.get('wait')?.delayMs).toBe(500);
    const again = live(
      [
        { type: 'deadlinePassed', timer: 'wait' },
        { ...EVENTS.placed, epoch: 2 },
        { ...EVENTS.started, epoch: 2 },
        EVENTS.exited('panic', 2),
      ],
      once,
    );
    expect(again.timers.get('wait')?.delayMs).toBe(1_000);
    expect(microvmContext(again).restarts).toBe(2);
  });

  it('of an earlier incarnation changes nothing', () => {
    const second = live(
      [
        { type: 'startRequested', requestedAt: T0 },
        { ...EVENTS.placed, epoch: 2 },
        { ...EVENTS.started, epoch: 2 },
      ],
      live([EVENTS.exited('powerOff')], liveUntilRunning()),
    );
    expect(() => live([EVENTS.exited('panic', 1)], second)).toThrow('exited is not accepted in state running');
  });
});

describe('a host that vanishes', () => {
  const lost = (onHostLoss: 'keep' | 'reschedule') => live([EVENTS.hostLost], liveUntilRunning({ onHostLoss }));

  it('keeps its microVMs unreachable by default', () => {
    expect(() => live([{ type: 'deadlinePassed', timer: 'leaseMargin' }], lost('keep'))).toThrow('not accepted');
    const back = live([{ type: 'observed', ...HERE, as: 'running', reason: 'found' }], lost('keep'));
    expect(microvmState(back)).toBe('running');
    expect(microvmContext(back).epoch).toBe(1);
  });

  it('gives up those that may move, after the margin, with the next epoch', () => {
    const moving = live([{ type: 'deadlinePassed', timer: 'leaseMargin' }], lost('reschedule'));
    expect(moving.outstanding).toMatchObject([{ type: 'place', epoch: 2, excluded: [HOST] }]);
  });

  it('does not move what is only overdue: its host still holds a lease', () => {
    const overdue = live([
      EVENTS.requested({ onHostLoss: 'reschedule' }),
      EVENTS.placementStarted,
      EVENTS.placed,
      { type: 'deadlinePassed', timer: 'startDeadline' },
    ]);
    expect(() => live([{ type: 'deadlinePassed', timer: 'leaseMargin' }], overdue)).toThrow('not accepted');
    expect(microvmState(live([EVENTS.hostLost, { type: 'deadlinePassed', timer: 'leaseMargin' }], overdue))).toBe(
      'placing',
    );
  });

  it('for good lets what is being deleted there be deleted', () => {
    const deleting = live([{ type: 'deleteRequested' }], lost('keep'));
    expect(microvmState(live([{ type: 'hostGone', hostId: HOST, reason: 'retired' }], deleting))).toBe('deleted');
  });
});

describe('an end with its host', () => {
  const ends: [string, MicrovmEvent][] = [
    ['fenced', EVENTS.exited('fenced')],
    ['hostRestarted', EVENTS.exited('hostRestarted')],
    ['absent', { type: 'absent', ...HERE, reason: 'not here' }],
  ];
  it.each(ends)('by %s starts again what is to be rescheduled, in whatever state it is told', (_, end) => {
    const running = liveUntilRunning({ onHostLoss: 'reschedule' });
    const unreachable = live([EVENTS.hostLost], running);
    const paused = live([{ type: 'pauseRequested' }, { type: 'pausedOnHost', ...HERE }], running);
    for (const life of [running, unreachable, paused]) {
      const again = live([end], life);
      expect(again.outstanding).toMatchObject([{ type: 'place', epoch: 2, attempt: 1, excluded: [] }]);
      expect(microvmContext(again).restarts).toBe(0);
    }
  });

  it.each(ends)('by %s is an end like any other for what stays with its host', (_, end) => {
    expect(microvmState(live([end], liveUntilRunning()))).toBe('failed');
  });

  it('is the end when it was to be stopped anyway', () => {
    const stopping = live([{ type: 'killRequested' }], liveUntilRunning({ onHostLoss: 'reschedule' }));
    expect(microvmState(live([EVENTS.exited('fenced')], stopping))).toBe('stopped');
  });
});

describe('a move', () => {
  const move: MicrovmEvent = { type: 'moveRequested', to: 'host-b', receiptId: 'r2', graceMs: 3_000 };
  const there = { hostId: 'host-b', epoch: 2 };
  const moving = () => live([move], liveUntilRunning({ onHostLoss: 'reschedule' }));
  const kept = { hostId: 'host-b', receiptId: 'r2', at: T0 };

  it('ends it in order here, and starts it at the kept place with the next epoch, without counting as a restart', () => {
    const life = moving();
    expect(life.outstanding).toEqual([{ type: 'stopOnHost', hostId: HOST, epoch: 1, timeoutMs: 3_000 }]);
    expect(life.timers.get('stopDeadline')?.delayMs).toBe(8_000);
    const ended = live([EVENTS.exited('panic')], life);
    expect(ended.outstanding).toMatchObject([{ type: 'place', epoch: 2, excluded: [HOST], kept }]);
    const placed = live([{ type: 'placed', ...there, receiptId: 'r2', decidedAt: T0 }], ended);
    expect(placed.outstanding.map(({ type }) => type)).toEqual(['eraseOnHost', 'startOnHost']);
    const running = live([{ ...EVENTS.started, ...there }], placed);
    expect(microvmContext(running)).toMatchObject({ hostId: 'host-b', epoch: 2, restarts: 0, move: { from: HOST } });
  });

  it('asks for another place when the kept one is refused after all', () => {
    const again = live(
      [
        EVENTS.exited('requested'),
        { type: 'placed', ...there, receiptId: 'r2', decidedAt: T0 },
        { type: 'refused', ...there, reason: 'full' },
      ],
      moving(),
    );
    expect(again.outstanding).toMatchObject([{ type: 'place', epoch: 3, excluded: [HOST, 'host-b'] }]);
    expect(again.outstanding[0]).not.toHaveProperty('kept');
  });

  it('does not come back to a kept place later', () => {
    const waiting = live(
      [EVENTS.exited('requested'), { type: 'placementFailed', reason: 'no room', final: false }],
      moving(),
    );
    const placing = live([{ type: 'deadlinePassed', timer: 'wait' }], waiting);
    expect(placing.outstanding[0]).not.toHaveProperty('kept');
    const started = live(
      [
        { type: 'stopRequested', timeoutMs: 0 },
        { type: 'startRequested', requestedAt: T0 },
      ],
      placing,
    );
    expect(started.outstanding[0]).not.toHaveProperty('kept');
  });

  it('kills what does not power off in time, again and again', () => {
    const life = live([{ type: 'deadlinePassed', timer: 'stopDeadline' }], moving());
    expect(microvmState(life)).toBe('moving');
    expect(life.outstanding).toMatchObject([{ type: 'stopOnHost', timeoutMs: 0 }]);
  });

  it.each<[string, MicrovmEvent, string]>([
    ['a stop', { type: 'stopRequested', timeoutMs: 0 }, 'stopped'],
    ['a kill', { type: 'killRequested' }, 'stopped'],
    ['a delete', { type: 'deleteRequested' }, 'deleting'],
  ])('is over by %s', (_, event, state) => {
    const asked = live([event], moving());
    const ended = state === 'deleting' ? asked : live([EVENTS.exited('requested')], asked);
    expect(microvmState(ended)).toBe(state);
  });

  it('becomes the loss of its host, which waits for the lease', () => {
    const lost = live([EVENTS.hostLost], moving());
    expect(microvmState(lost)).toBe('unreachable');
    const anew = live([{ type: 'deadlinePassed', timer: 'leaseMargin' }], lost);
    expect(anew.outstanding).toMatchObject([{ type: 'place', epoch: 2, attempt: 1 }]);
    expect(anew.outstanding[0]).not.toHaveProperty('kept');
  });

  it('takes a paused one, and nothing that is on its way already', () => {
    const paused = live([{ type: 'pauseRequested' }, { type: 'pausedOnHost', ...HERE }], liveUntilRunning());
    expect(microvmState(live([move], paused))).toBe('moving');
    expect(() => live([move], moving())).toThrow('not accepted');
    expect(() => live([move], live([EVENTS.requested(), EVENTS.placementStarted]))).toThrow('not accepted');
  });
});

describe('time to live', () => {
  it('counts from creation and ends in deleting from any state', () => {
    const life = liveUntilRunning({ ttlSeconds: 60 });
    expect(life.timers.get('timeToLive')?.dueAt).toBe(T0 + 60_000);
    expect(microvmState(live([{ type: 'deadlinePassed', timer: 'timeToLive' }], life))).toBe('deleting');
    const stopped = live([EVENTS.exited('powerOff')], life);
    expect(stopped.timers.get('timeToLive')?.dueAt).toBe(T0 + 60_000);
    const waiting = live([EVENTS.requested({ ttlSeconds: 60 })]);
    expect(microvmState(live([{ type: 'deadlinePassed', timer: 'timeToLive' }], waiting))).toBe('deleted');
  });
});

describe('an incarnation on another host', () => {
  it('has what the one before left cleaned up', () => {
    const stopped = live([EVENTS.exited('powerOff')], liveUntilRunning());
    const elsewhere = live(
      [
        { type: 'startRequested', requestedAt: T0 },
        { ...EVENTS.placed, hostId: 'host-b', epoch: 2 },
      ],
      stopped,
    );
    expect(elsewhere.outstanding).toMatchObject([
      { type: 'eraseOnHost', hostId: HOST, epoch: 1 },
      { type: 'startOnHost', hostId: 'host-b', epoch: 2 },
    ]);
  });
});

describe('a host that is away for long', () => {
  it.each([
    ['stopping', { type: 'killRequested' }, 'stopDeadline', 5_000],
    ['deleting', { type: 'deleteRequested' }, 'eraseDeadline', 10_000],
  ] as const)('is asked again in %s, ever more rarely, so that no history fills up', (state, request, timer, first) => {
    let life = live([request], liveUntilRunning());
    const waits: number[] = [];
    for (let round = 0; round < 9; round++) {
      waits.push(life.timers.get(timer)!.delayMs);
      life = live([{ type: 'deadlinePassed', timer }], life);
      expect(microvmState(life)).toBe(state);
      expect(life.outstanding).toHaveLength(1);
    }
    expect(waits).toEqual([1, 2, 4, 8, 16, 32, 64, 64, 64].map((times) => times * first));
  });
});
