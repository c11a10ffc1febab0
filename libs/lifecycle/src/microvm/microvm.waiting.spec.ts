import { EVENTS, live, T0 } from './microvm.fixtures';
import { microvmContext, microvmState, viewMicrovm, type MicrovmLife } from './microvm.fold';
import { MICROVM_LIMITS } from './microvm.limits';

const waits = { type: 'placementWaits', reason: 'none of 3 hosts passes', receiptId: '7.0' } as const;
const placing = (waitSeconds?: number) =>
  live([EVENTS.requested(waitSeconds === undefined ? {} : { waitSeconds }), EVENTS.placementStarted]);
const waitUntil = (life: MicrovmLife) => (life.outstanding[0] as unknown as { waitUntil: number }).waitUntil;

describe('waiting for capacity', () => {
  it.each([
    [undefined, 30_000],
    [0, 0],
    [120, 120_000],
  ])('lasts as long as the spec says: %s s', (seconds, ms) => {
    const life = placing(seconds);
    expect(waitUntil(life)).toBe(T0 + ms);
    // Placement answers in the end; only if it does not, the machine takes it on itself. Its timer is set one ms after the birth.
    expect(life.timers.get('placementDeadline')?.dueAt).toBe(T0 + Math.max(ms, 1) + MICROVM_LIMITS.placementDeadline);
  });

  it('is shown with the reason, and ends with a place', () => {
    const before = placing();
    const life = live([waits], before);
    expect(viewMicrovm(life)).toMatchObject({ state: 'placing', reason: waits.reason });
    // The same wait, not a new one: what was asked for is still being asked for.
    expect(life.outstanding).toEqual(before.outstanding);
    expect([...life.timers]).toEqual([...before.timers]);
    expect(life.enteredAt).toBe(before.enteredAt);
    const placed = live([EVENTS.placed], life);
    expect(viewMicrovm(placed)).toMatchObject({ state: 'starting', reason: null });
  });

  it('ends in failed with the reason when there was no place in time, and can be cancelled', () => {
    const life = live([waits], placing());
    const failed = live([{ type: 'placementFailed', reason: 'not placed within 30 s', final: true }], life);
    expect(viewMicrovm(failed)).toMatchObject({ state: 'failed', reason: 'not placed within 30 s' });
    expect(microvmState(live([{ type: 'stopRequested', timeoutMs: 0 }], life))).toBe('stopped');
    expect(microvmState(live([{ type: 'deleteRequested' }], life))).toBe('deleted');
  });

  it('is not begun anew by hosts that refuse', () => {
    const refused = live([EVENTS.placed, { type: 'refused', hostId: 'host-a', epoch: 1, reason: 'full' }], placing());
    expect(microvmState(refused)).toBe('placing');
    expect(waitUntil(refused)).toBe(T0 + 30_000);
  });

  it('is begun anew by a restart, when its turn comes', () => {
    const crashed = live(
      [EVENTS.placed, EVENTS.started, EVENTS.exited('panic')],
      live([EVENTS.requested({ restartPolicy: 'always' }), EVENTS.placementStarted]),
    );
    const turn = T0 + 400_000;
    const again = live([{ type: 'deadlinePassed', timer: 'wait' }], crashed, turn);
    expect(microvmState(again)).toBe('placing');
    expect(waitUntil(again)).toBe(turn + 30_000);
    expect(microvmContext(again).attempts).toBe(1);
  });

  it('means nothing outside of placing', () => {
    expect(() => live([waits], live([EVENTS.placed], placing()))).toThrow('not accepted in state starting');
  });
});
