import { SlopeEstimator } from './slope-estimator';

/** Repeatable noise in -1..1. */
function noise(): () => number {
  let state = 12345;
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return (state / 2 ** 30 - 1) as number;
  };
}

/** A host on which microVMs of 700 KiB come and go, while something else takes 1 MiB more each minute. */
function live(estimator: SlopeEstimator, counts: readonly number[], cost: (count: number) => number, jitterKiB = 0) {
  const random = noise();
  let atMs = 0;
  for (const count of counts) {
    for (let second = 0; second < 5; second++, atMs += 1_000) {
      estimator.add(count, cost(count) + (atMs / 60_000) * 1_024 + jitterKiB * random(), atMs);
    }
  }
}

describe('the slope of what microVMs cost', () => {
  it('is found from starts and ends, whatever else changes slowly', () => {
    const estimator = new SlopeEstimator();
    live(estimator, [0, 100, 250, 200, 400, 50], (count) => 50_000 + 700 * count);
    const slope = estimator.read()!;
    expect(slope.steps).toBe(5);
    expect(Math.abs(slope.value - 700)).toBeLessThan(2);
    expect(slope.error).toBeLessThan(5);
  });

  it('knows its error: twice of it holds the truth, and noise makes it larger', () => {
    const [quiet, loud] = [new SlopeEstimator(), new SlopeEstimator()];
    const counts = Array.from({ length: 40 }, (_, i) => 100 + (i % 2) * 20);
    live(quiet, counts, (count) => 700 * count, 100);
    live(loud, counts, (count) => 700 * count, 4_000);
    expect(quiet.read()!.error).toBeLessThan(loud.read()!.error / 5);
    for (const slope of [quiet.read()!, loud.read()!])
      expect(Math.abs(slope.value - 700)).toBeLessThan(2 * slope.error + 5);
  });

  it('is not told by a host on which nothing has come or gone, nor by one step', () => {
    const estimator = new SlopeEstimator();
    live(estimator, [100, 100, 100], (count) => 700 * count, 500);
    expect(estimator.read()).toBeUndefined();
    live(estimator, [100, 200], (count) => 700 * count);
    expect(estimator.read()).toBeUndefined();
  });

  it('follows a host whose microVMs have become larger', () => {
    const estimator = new SlopeEstimator();
    const counts = Array.from({ length: 200 }, (_, i) => 100 + (i % 2) * 50);
    live(estimator, counts, (count) => 700 * count);
    live(estimator, counts, (count) => 900 * count);
    expect(Math.abs(estimator.read()!.value - 900)).toBeLessThan(10);
  });
});
