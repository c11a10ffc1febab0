import type { MicrovmEvent } from '#protocol';
import { decideCommand } from './microvm.decider';
import { microvmContext, microvmState, viewMicrovm, type MicrovmLife } from './microvm.fold';
import { EVENTS, HOST, live, liveUntilRunning, occasion, T0 } from './microvm.fixtures';
import { MICROVM_LIMITS } from './microvm.limits';

const HERE = { hostId: HOST, epoch: 1 };
const MINUTE = 60_000;
const fired = (timer: string): MicrovmEvent => ({ type: 'deadlinePassed', timer });
const protect = (enabled: boolean): MicrovmEvent => ({ type: 'protectionSet', enabled });
const ended = (reason: 'expired' | 'idle', epoch = 1): MicrovmEvent => ({
  type: 'exited',
  hostId: HOST,
  epoch,
  exit: { reason, message: `ended: ${reason}`, at: T0 },
});
/** Effects asked for by one more event. */
const asked = (life: MicrovmLife, event: MicrovmEvent, at = T0) => live([event], life, at);

describe('a microVM without policies', () => {
  it('remembers nothing for them and has no timer for them', () => {
    const life = liveUntilRunning();
    const { protected: isProtected, expiresAt, upSince } = microvmContext(life);
    expect([isProtected, expiresAt, upSince]).toEqual([undefined, undefined, undefined]);
    for (const key of ['protected', 'expiresAt', 'upSince'])
      expect(Object.keys(microvmContext(life))).not.toContain(key);
    expect([...life.timers].map(({ name }) => name)).toEqual(['review']);
    expect([...live([EVENTS.exited()], life).timers].map(({ name }) => name)).toEqual(['review']);
  });
});

describe('time to live on its host', () => {
  it('is told to the host with every start, as one instant', () => {
    const starting = live([EVENTS.requested({ ttlSeconds: 60 }), EVENTS.placementStarted, EVENTS.placed]);
    expect(starting.outstanding).toMatchObject([{ type: 'startOnHost', expiresAt: T0 + MINUTE }]);
    const again = live(
      [
        { type: 'startRequested', requestedAt: T0 },
        { ...EVENTS.placed, epoch: 2 },
      ],
      live([EVENTS.started, EVENTS.exited()], starting),
    );
    expect(again.outstanding).toMatchObject([{ type: 'startOnHost', epoch: 2, expiresAt: T0 + MINUTE }]);
    const without = live([EVENTS.requested(), EVENTS.placementStarted, EVENTS.placed]);
    expect(without.outstanding[0]).not.toHaveProperty('expiresAt');
  });

  it('once over there deletes it, whatever its restart policy says', () => {
    const life = live([ended('expired')], liveUntilRunning({ ttlSeconds: 60, restartPolicy: 'always' }));
    expect(microvmState(life)).toBe('deleting');
    expect(viewMicrovm(life)).toMatchObject({ reason: 'its time to live is over', exit: { reason: 'expired' } });
  });

  it('does the same when nobody was heard of its host for long', () => {
    const life = live([EVENTS.hostLost, ended('expired')], liveUntilRunning({ ttlSeconds: 60 }));
    expect(microvmState(life)).toBe('deleting');
  });
});

describe('delete protection', () => {
  const shielded = liveUntilRunning({ deleteProtection: true, ttlSeconds: 60 });

  it('refuses a delete and says how to lift it', () => {
    expect(viewMicrovm(shielded).deleteProtection).toBe(true);
    expect(decideCommand(shielded, { type: 'delete' }, occasion())).toEqual({
      kind: 'refused',
      state: 'running',
      reason: 'it is protected from deletion; lift the protection first (volley protect ID off)',
    });
    expect(() => live([{ type: 'deleteRequested' }], shielded)).toThrow('not accepted');
  });

  it('holds against the time to live, here and on the host', () => {
    expect(() => live([fired('timeToLive')], shielded)).toThrow('not accepted');
    const starting = live([
      EVENTS.requested({ deleteProtection: true, ttlSeconds: 60 }),
      EVENTS.placementStarted,
      EVENTS.placed,
    ]);
    expect(starting.outstanding[0]).not.toHaveProperty('expiresAt');
    // Its host had not heard of the protection: it has ended, but it stays.
    expect(microvmState(live([ended('expired')], shielded))).toBe('stopped');
  });

  it('can be lifted in every state but while it is being deleted', () => {
    const running = live([protect(false)], shielded);
    expect(microvmState(live([{ type: 'deleteRequested' }], running))).toBe('deleting');
    const deleting = live([{ type: 'deleteRequested' }], liveUntilRunning());
    const deleted = live([{ type: 'erased', ...HERE }], deleting);
    expect(() => live([protect(true)], deleted)).toThrow('not accepted in state deleted');
    expect(() => live([protect(true)], deleting)).toThrow('not accepted');
    expect(decideCommand(deleting, { type: 'protect', enabled: true }, occasion()).kind).toBe('refused');
  });

  it('set to what it is leaves no record', () => {
    expect(decideCommand(shielded, { type: 'protect', enabled: true }, occasion())).toEqual({ kind: 'nothing' });
    expect(decideCommand(shielded, { type: 'protect', enabled: false }, occasion()).kind).toBe('record');
  });

  it('tells the host, and leaves the state and its deadlines as they are', () => {
    const life = liveUntilRunning({ ttlSeconds: 60 });
    const decision = decideCommand(life, { type: 'protect', enabled: true }, occasion(T0 + 5));
    expect(decision).toMatchObject({
      kind: 'record',
      record: { from: 'running', to: 'running' },
      advance: { effects: [{ type: 'expireOnHost', ...HERE, expiresAt: null }] },
    });
    const after = asked(life, protect(true), T0 + 5);
    expect([...after.timers]).toEqual([...life.timers]);
    const lifted = decideCommand(after, { type: 'protect', enabled: false }, occasion(T0 + 6));
    expect(lifted).toMatchObject({ advance: { effects: [{ type: 'expireOnHost', expiresAt: T0 + MINUTE }] } });
  });

  it('lifted after the time to live is over deletes it at once', () => {
    const lifted = asked(shielded, protect(false), T0 + 2 * MINUTE);
    expect(microvmState(lifted)).toBe('deleting');
    expect(microvmContext(lifted).reason).toBe('its time to live is over');
    const unborn = live([EVENTS.requested({ deleteProtection: true, ttlSeconds: 60 })]);
    expect(microvmState(asked(unborn, protect(false), T0 + 2 * MINUTE))).toBe('deleted');
  });
});

describe('restarts', () => {
  const restarted = (life: MicrovmLife, epoch: number, ranMs: number): MicrovmLife => {
    const at = life.updatedAt;
    const running = live([fired('wait'), { ...EVENTS.placed, epoch }, { ...EVENTS.started, epoch }], life, at);
    return live([EVENTS.exited('panic', epoch)], running, running.updatedAt + ranMs);
  };

  it('end in failed after as many in a row as its spec allows', () => {
    let life = live([EVENTS.exited('panic')], liveUntilRunning({ restartPolicy: 'on-failure', maxRestarts: 2 }));
    life = restarted(life, 2, 1);
    expect(microvmState(life)).toBe('requested');
    life = restarted(life, 3, 1);
    expect(microvmState(life)).toBe('failed');
    expect(microvmContext(life)).toMatchObject({
      restarts: 2,
      reason: 'started again 2 times in a row, as often as its maxRestarts allows; last: the guest ended by panic',
    });
  });

  it('may be forbidden altogether', () => {
    const life = live([EVENTS.exited('panic')], liveUntilRunning({ restartPolicy: 'always', maxRestarts: 0 }));
    expect(microvmState(life)).toBe('failed');
  });

  it('are counted, and their waits grow, from the beginning again after a good run', () => {
    let life = live([EVENTS.exited('panic')], liveUntilRunning({ restartPolicy: 'always', maxRestarts: 2 }));
    life = restarted(life, 2, MICROVM_LIMITS.goodRun - 1);
    expect([microvmContext(life).restarts, life.timers.get('wait')?.delayMs]).toEqual([2, 1_000]);
    life = restarted(life, 3, MICROVM_LIMITS.goodRun);
    expect(microvmState(life)).toBe('requested');
    expect([microvmContext(life).restarts, life.timers.get('wait')?.delayMs]).toEqual([1, 500]);
  });
});

describe('an idle stop', () => {
  it.each(['never', 'on-failure', 'always'] as const)('with restart policy %s leads to stopped', (restartPolicy) => {
    const life = live([ended('idle')], liveUntilRunning({ restartPolicy }));
    expect(viewMicrovm(life)).toMatchObject({ state: 'stopped', exit: { reason: 'idle' } });
  });
});

describe('a stop without a time-out', () => {
  it.each([
    [{}, 10_000],
    [{ stopTimeoutSeconds: 90 }, 90_000],
    [{ stopTimeoutSeconds: 0 }, 0],
  ])('of a spec with %j gives the guest %d ms', (change, timeoutMs) => {
    const decision = decideCommand(liveUntilRunning(change), { type: 'stop' }, occasion());
    expect(decision).toMatchObject({ record: { events: [{ type: 'stopRequested', timeoutMs }] } });
    const said = decideCommand(liveUntilRunning(change), { type: 'stop', timeoutMs: 7 }, occasion());
    expect(said).toMatchObject({ record: { events: [{ timeoutMs: 7 }] } });
  });
});

describe('a schedule', () => {
  // T0 is 2023-11-14 22:13:20 UTC.
  const at = (time: string): number => Date.parse(`2023-11-${time}:00Z`);
  const schedule = { start: '0 8 * * *', stop: '0 20 * * *' };
  const running = liveUntilRunning({ schedule, stopTimeoutSeconds: 30, restartPolicy: 'always' });
  const due = (life: MicrovmLife, timer: string): number | undefined => life.timers.get(timer)?.dueAt;
  const stopped = live([fired('scheduledStop'), EVENTS.exited()], running, at('15T20:00'));

  it('stops it in order', () => {
    expect(due(running, 'scheduledStop')).toBe(at('15T20:00'));
    const stopping = live([fired('scheduledStop')], running, at('15T20:00'));
    expect(stopping.outstanding).toMatchObject([{ type: 'stopOnHost', timeoutMs: 30_000 }]);
    expect(microvmContext(stopping).reason).toBe('stopped by its schedule');
    expect(microvmState(stopped)).toBe('stopped');
  });

  it('starts it again', () => {
    expect(due(stopped, 'scheduledStart')).toBe(at('16T08:00'));
    const placing = live([fired('scheduledStart')], stopped, at('16T08:00'));
    expect(microvmState(placing)).toBe('placing');
    expect(microvmContext(placing).timings).toEqual({ requestedAt: at('16T08:00'), acceptedAt: at('16T08:00') });
    expect(due(placing, 'scheduledStop')).toBe(at('16T20:00'));
  });

  it('missed for days is done once', () => {
    const late = live([fired('scheduledStart')], stopped, at('19T09:30'));
    expect(microvmState(late)).toBe('placing');
    expect(due(late, 'scheduledStart')).toBeUndefined();
    expect(due(late, 'scheduledStop')).toBe(at('19T20:00'));
  });

  it('lets a stop by an operator hold until the next start', () => {
    const byHand = live([{ type: 'stopRequested', timeoutMs: 0 }, EVENTS.exited()], running, at('15T08:01'));
    expect(due(byHand, 'scheduledStart')).toBe(at('16T08:00'));
    const again = live([{ type: 'startRequested', requestedAt: T0 }], byHand, at('15T21:00'));
    expect(due(again, 'scheduledStop')).toBe(at('16T20:00'));
  });

  it('does not forget a stop that was due because something else was noticed first', () => {
    const back = live(
      [EVENTS.hostLost, { type: 'observed', ...HERE, as: 'running', reason: 'found' }],
      running,
      at('16T09:00'),
    );
    expect(microvmState(back)).toBe('running');
    expect(back.timers.get('scheduledStop')).toMatchObject({ delayMs: 0 });
  });

  it('stops what has not been placed yet', () => {
    const waiting = live([EVENTS.requested({ schedule }), EVENTS.placementStarted], null, T0);
    const life = live([fired('scheduledStop')], waiting, at('15T20:00'));
    expect(microvmState(life)).toBe('stopped');
    expect(microvmContext(life).reason).toBe('stopped by its schedule before it was placed');
  });

  it('of half a kind has half the timers', () => {
    const only = liveUntilRunning({ schedule: { stop: '0 20 * * *' } });
    expect([...live([EVENTS.exited()], only).timers].map(({ name }) => name)).toEqual(['review']);
  });
});
