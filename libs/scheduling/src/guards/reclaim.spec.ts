import type { GuardReading } from './readings';
import { DEFAULT_GUARDS } from './gates';
import { reclaim, RECLAIM, RECLAIM_IDLE, type ReclaimCandidate, type ReclaimState } from './reclaim';

const USABLE = 1_000;
const reading = (availableMemory: number): GuardReading => ({
  ...{ cpuPressure: 0, memoryPressure: 0, vcpuWait: null, availableMemory },
  ...{ availableMiB: (availableMemory * USABLE) / 100, usableMiB: USABLE },
});

const one = (microvmId: string, change: Partial<ReclaimCandidate> = {}): ReclaimCandidate => ({
  ...{ microvmId, class: 'bestEffort', memoryMiB: 400, residentMiB: 100, idleMs: 0 },
  ...{ balloonMiB: undefined, canSuspend: false, isLeaving: false },
  ...change,
});
const idle = { idleMs: RECLAIM.idleMs };

const steps = (
  available: number,
  candidates: ReclaimCandidate[],
  state: ReclaimState = RECLAIM_IDLE,
  at = 0,
): string[] =>
  reclaim(state, reading(available), candidates, at).actions.map(({ step, microvmId }) => `${step} ${microvmId}`);

describe('reclaim', () => {
  it('given enough memory, then nobody is touched', () => {
    expect(steps(RECLAIM.balloonBelow, [one('a', { ...idle, balloonMiB: 0 })])).toEqual([]);
  });

  it('given less, then idle guests give memory by their balloons, and busy ones do not', () => {
    const candidates = [one('a', { ...idle, balloonMiB: 0 }), one('b', { balloonMiB: 0 }), one('c', idle)];
    const { actions } = reclaim(RECLAIM_IDLE, reading(11), candidates, 0);
    expect(actions).toMatchObject([{ step: 'balloon', microvmId: 'a', mib: 300 }]);
    expect(actions[0]!.reason).toBe('available memory 11 % (110 of 1000 MiB) is below 12 %; it has been idle for 5 s');
  });

  it('given less still, then idle guests are suspended, the longest idle first, as many as are needed', () => {
    const candidates = [
      one('a', { ...idle, canSuspend: true }),
      one('b', { idleMs: 60_000, canSuspend: true, residentMiB: 30 }),
      one('c', { idleMs: 90_000 }),
    ];
    expect(steps(9, candidates)).toEqual(['suspend b', 'suspend a']);
    expect(steps(9.9, [...candidates, one('d', { idleMs: 70_000, canSuspend: true })])).toEqual(['suspend d']);
  });

  it('given next to none, then those that hold the most are ended, as few as will do', () => {
    const candidates = [one('a', { residentMiB: 40 }), one('b', { residentMiB: 90 }), one('c', { residentMiB: 60 })];
    expect(steps(7, candidates)).toEqual(['evict b']);
    expect(steps(3, candidates)).toEqual(['evict b', 'evict c']);
    expect(reclaim(RECLAIM_IDLE, reading(7), candidates, 0).actions[0]!.reason).toBe(
      'available memory 7 % (70 of 1000 MiB) is below 8 %; of 3 best-effort microVMs it held 90 MiB',
    );
  });

  it('takes the steps in order: a milder one that is left comes first', () => {
    expect(steps(5, [one('a', { residentMiB: 300 }), one('b', { ...idle, balloonMiB: 0 })])).toEqual(['balloon b']);
    expect(steps(5, [one('a', { residentMiB: 300 }), one('b', { ...idle, canSuspend: true })])).toEqual(['suspend b']);
    expect(steps(3, [one('a', { residentMiB: 300 }), one('b', { ...idle, canSuspend: true })])).toEqual(['evict a']);
  });

  it('waits for what a step gives back, unless there is no time', () => {
    const { state } = reclaim(RECLAIM_IDLE, reading(7), [one('a')], 1_000);
    expect(steps(7, [one('b')], state, 1_000 + RECLAIM.settleMs - 1)).toEqual([]);
    expect(steps(7, [one('b')], state, 1_000 + RECLAIM.settleMs)).toEqual(['evict b']);
    expect(steps(3.9, [one('b')], state, 1_001)).toEqual(['evict b']);
  });

  it('looks ahead: memory that goes fast counts as gone', () => {
    const { state } = reclaim(RECLAIM_IDLE, reading(13.5), [one('a')], 0);
    expect(steps(11, [one('a')], state, 250)).toEqual(['evict a']);
    expect(steps(11, [one('a')], state, 10_000)).toEqual([]);
    // Above what is to be available nobody asks how fast it goes.
    expect(steps(RECLAIM.until, [one('a')], reclaim(RECLAIM_IDLE, reading(90), [], 0).state, 250)).toEqual([]);
  });

  it('takes enough for best effort to be let in again, or what was evicted could never come back', () => {
    expect(RECLAIM.until).toBeGreaterThanOrEqual(DEFAULT_GUARDS.bestEffort.availableMemory!.open);
  });

  it('counts on what those that leave will give back', () => {
    expect(steps(3, [one('a', { isLeaving: true, residentMiB: 130 }), one('b')])).toEqual([]);
    expect(steps(3, [one('a', { isLeaving: true, residentMiB: 50 }), one('b')])).toEqual(['evict b']);
  });

  it('never touches one that is guaranteed, whatever it does and however little is left', () => {
    const candidates = [one('a', { ...idle, class: 'guaranteed', balloonMiB: 0, canSuspend: true, residentMiB: 900 })];
    expect(steps(0, candidates)).toEqual([]);
  });

  it('lets balloons go one by one when there has been plenty for a while', () => {
    const candidates = [one('a', { balloonMiB: 300 }), one('b', { balloonMiB: 300 })];
    let { state } = reclaim(RECLAIM_IDLE, reading(40), candidates, 0);
    expect(steps(40, candidates, state, RECLAIM.calmMs - 1)).toEqual([]);
    expect(steps(40, candidates, state, RECLAIM.calmMs)).toEqual(['deflate a']);
    ({ state } = reclaim(state, reading(29), candidates, 5_000));
    expect(steps(40, candidates, state, RECLAIM.calmMs)).toEqual([]);
  });
});
