import { UsedTrend } from './exhaustion';

const HOUR_MS = 3_600_000;

function trend(used: (seconds: number) => number, ms = HOUR_MS): UsedTrend {
  const one = new UsedTrend();
  for (let at = 0; at < ms; at += 1_000) one.add(at, used(at / 1_000));
  return one;
}

describe('the time until memory is used up', () => {
  it('follows from a steady growth', () => {
    const left = trend((s) => 1_000_000 + 100 * s).exhaustion(360_000)!;
    expect(left.seconds).toBeCloseTo(3_600, 0);
    expect(left.soonestSeconds).toBeLessThanOrEqual(left.seconds);
    expect(left.latestSeconds).toBeGreaterThanOrEqual(left.seconds);
  });

  it('is not told where memory stays, shrinks or swings', () => {
    expect(trend(() => 1_000_000).exhaustion(360_000)).toBeNull();
    expect(trend((s) => 1_000_000 - 50 * s).exhaustion(360_000)).toBeNull();
    expect(trend((s) => 1_000_000 + 50_000 * Math.sin(s / 300)).exhaustion(360_000)).toBeNull();
  });

  it('is not told before five minutes are known', () => {
    expect(trend((s) => 1_000_000 + 100 * s, 290_000).exhaustion(360_000)).toBeNull();
    expect(trend((s) => 1_000_000 + 100 * s, 310_000).exhaustion(360_000)).not.toBeNull();
  });

  it('has wider bounds where growth is less steady', () => {
    const width = (swing: number): number => {
      const left = trend((s) => 1_000_000 + 100 * s + swing * Math.sin(s / 20)).exhaustion(360_000)!;
      return left.latestSeconds - left.soonestSeconds;
    };
    expect(width(20_000)).toBeGreaterThan(3 * width(1_000));
  });
});
