import type { DensityHistory } from '#protocol';
import { chartLines } from './density-chart';

const spread = (mean: number) => ({ min: 0, mean, max: 9_999, p99: 0 });
const at = (at: number, used: number, promised: number) => ({
  at,
  readings: 1,
  figures: { hostUsedMiB: spread(used), committedMemoryMiB: spread(promised) },
});

it('draws lines on one scale, broken where nothing is known', () => {
  const history: DensityHistory = {
    ...{ from: 0, to: 100, stepMs: 10 },
    points: [at(0, 50, 100), at(10, 100, 200), at(50, 0, 200)],
  };
  const { most, lines } = chartLines(history, ['hostUsedMiB', 'committedMemoryMiB', 'fits']);
  expect(most).toBe(200);
  expect(lines).toEqual([
    { figure: 'hostUsedMiB', path: 'M0.0 75.00L100.0 50.00M500.0 100.00', last: 0 },
    { figure: 'committedMemoryMiB', path: 'M0.0 50.00L100.0 0.00M500.0 0.00', last: 200 },
    { figure: 'fits', path: '', last: null },
  ]);
});
