import { startLatency, startPhases } from './start-phases';

const whole = {
  requestedAt: 1_000,
  acceptedAt: 1_001,
  placedAt: 1_002.5,
  receivedAt: 1_003,
  admittedAt: 1_004,
  launchedAt: 1_004.5,
  vmmEnteredAt: 1_005.5,
  guestRunAt: 1_006,
  guestBootedAt: 1_006.25,
  runningAt: 1_008,
};

describe('startPhases', () => {
  it('add up to the whole start without gaps', () => {
    const phases = startPhases(whole);
    expect(phases).toHaveLength(9);
    let at = 0;
    for (const phase of phases) {
      expect(phase.fromMs).toBeCloseTo(at, 9);
      at += phase.tookMs!;
    }
    expect(at).toBeCloseTo(8, 9);
    expect(startLatency(whole)).toBe(8);
  });

  it('shows what is still to come', () => {
    const phases = startPhases({ requestedAt: 1_000, acceptedAt: 1_001, placedAt: 1_002 });
    expect(phases.map((phase) => phase.tookMs)).toEqual([1, 1, null, null, null, null, null, null, null]);
    expect(startLatency({ requestedAt: 1_000, acceptedAt: 1_001 })).toBeNull();
  });

  it('bridges steps nobody saw', () => {
    const phases = startPhases({ requestedAt: 1_000, acceptedAt: 1_001, placedAt: 1_002, runningAt: 1_010 });
    expect(phases.map(({ until, tookMs }) => [until, tookMs])).toEqual([
      ['acceptedAt', 1],
      ['placedAt', 1],
      ['runningAt', 8],
    ]);
  });

  it('does not hide clocks that disagree', () => {
    const phases = startPhases({ ...whole, receivedAt: 1_001.5 });
    expect(phases.find((phase) => phase.until === 'receivedAt')?.tookMs).toBe(-1);
  });
});
