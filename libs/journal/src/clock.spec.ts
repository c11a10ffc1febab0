import { steadyClock, steadyDue } from './clock';

describe('the steady clock', () => {
  const real = Date.now.bind(Date);
  const step = (ms: number): void => void jest.spyOn(Date, 'now').mockImplementation(() => real() + ms);
  afterEach(() => jest.restoreAllMocks());

  it.each([600_000, -600_000])('goes on as before when the wall clock is moved by %i ms', (ms) => {
    const before = steadyClock.now();
    step(ms);
    expect(Math.abs(steadyClock.now() - before)).toBeLessThan(60_000);
  });

  it.each([
    ['by the wall clock, what is left', 100_000, 0, 100_000],
    ['no more than its length, when it was armed by a clock that was ahead', 600_000 + 100_000, 0, 120_000],
    ['nothing, when it is over', -5_000, 0, -5_000],
    ['what is left by the clock of now, when that was moved', 100_000, 40_000, 60_000],
  ])('waits for a timer %s', (_, dueInMs, movedMs, leftMs) => {
    const dueAt = real() + dueInMs;
    step(movedMs);
    const left = steadyDue({ dueAt, delayMs: 120_000 }) - steadyClock.now();
    expect(Math.abs(left - leftMs)).toBeLessThan(1_000);
  });
});
