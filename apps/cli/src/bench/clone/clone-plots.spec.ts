import { cloneWindows } from './clone-windows';
import { clonePlots } from './clone-plots';

it('draws clones in the order in which they became ready', () => {
  const windows = cloneWindows([1, 2, 3, 4, 10, 20, 30], 4);
  expect(windows).toEqual([
    { to: 4, p50: 2, p99: 4 },
    { to: 7, p50: 20, p99: 30 },
  ]);
  expect(clonePlots({ windows })[0]!.series.map(({ name, points }) => [name, ...points])).toEqual([
    ['p50', [4, 2], [7, 20]],
    ['p99', [4, 4], [7, 30]],
  ]);
  expect(cloneWindows([], 4)).toEqual([]);
});
