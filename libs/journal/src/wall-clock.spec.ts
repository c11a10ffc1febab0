import { WallClock } from './wall-clock';

describe('WallClock', () => {
  afterEach(() => jest.restoreAllMocks());

  it('never leaves the millisecond that the system tells', () => {
    const clock = new WallClock();
    for (let i = 0; i < 10_000; i++) {
      const before = Date.now();
      const now = clock.now();
      expect(now).toBeGreaterThanOrEqual(before);
      expect(now).toBeLessThanOrEqual(Date.now() + 1);
    }
  });

  it('agrees with another one, as two processes must', () => {
    const [one, other] = [new WallClock(), new WallClock()];
    const differences = Array.from({ length: 100 }, () => Math.abs(one.now() - other.now())).sort((a, b) => a - b);
    expect(differences[50]).toBeLessThan(1);
  });

  it('follows a step of the wall clock at once', () => {
    const clock = new WallClock();
    const real = Date.now.bind(Date);
    jest.spyOn(Date, 'now').mockImplementation(() => real() - 3_600_000);
    expect(Math.abs(clock.now() - (real() - 3_600_000))).toBeLessThan(50);
  });

  it('turns a monotonic reading into wall time', () => {
    const clock = new WallClock();
    const reading = process.hrtime.bigint();
    expect(Math.abs(clock.ofMonotonic(reading) - clock.now())).toBeLessThan(50);
  });
});
