import { mergePoints, spreadOf, StepGatherer } from './figure-spread';

it('spreads readings', () => {
  expect(spreadOf([4, 1, 3])).toEqual({ min: 1, mean: 2.66667, max: 4, p99: 4 });
});

it('gathers what was read in one step; a figure that was not always there counts when it was', () => {
  const step = new StepGatherer(10_000);
  step.add({ microvms: 1 });
  step.add({ microvms: 3, marginalCostKiB: 700 });
  expect(step.point()).toEqual({
    ...{ at: 10_000, readings: 2 },
    figures: {
      microvms: { min: 1, mean: 2, max: 3, p99: 3 },
      marginalCostKiB: { min: 700, mean: 700, max: 700, p99: 700 },
    },
  });
});

describe('longer steps', () => {
  const point = (at: number, readings: number, values: number[]) => ({
    at,
    readings,
    figures: { microvms: spreadOf(values) },
  });

  it('keep least and most, and weigh the mean by readings', () => {
    const points = [point(120_000, 10, [1]), point(60_000, 30, [5, 9]), point(180_000, 1, [50])];
    expect(mergePoints(points, 180_000)).toEqual([
      { at: 0, readings: 40, figures: { microvms: { min: 1, mean: 5.5, max: 9, p99: 9 } } },
      { at: 180_000, readings: 1, figures: { microvms: { min: 50, mean: 50, max: 50, p99: 50 } } },
    ]);
  });

  it('do not let one bad minute of hundreds be the 99th percentile, and let a bad hundredth be it', () => {
    const calm = Array.from({ length: 299 }, (_, i) => point(i * 60_000, 60, [1]));
    expect(mergePoints([...calm, point(299 * 60_000, 60, [90])], 18_000_000)[0]!.figures.microvms).toMatchObject({
      max: 90,
      p99: 1,
    });
    const bad = Array.from({ length: 4 }, (_, i) => point((295 + i) * 60_000, 60, [90]));
    expect(mergePoints([...calm.slice(0, 295), ...bad], 18_000_000)[0]!.figures.microvms!.p99).toBe(90);
  });
});
