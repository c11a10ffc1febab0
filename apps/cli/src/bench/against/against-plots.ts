import type { Plot } from '../plot/svg-plot';
import type { Figure } from '../vmm/measured';
import type { AgainstResult } from './against.bench';

/** Each contender over the rounds: whether one is ahead, and whether it was all the time. */
export function againstPlots({ rounds }: AgainstResult): Plot[] {
  const plot = (title: string, label: string, of: string, value: (figure: Figure) => number | undefined): Plot => ({
    ...{ title, x: { label: 'round' }, y: { label } },
    series: Object.entries(rounds).flatMap(([name, all]) => {
      const points = all.flatMap((figures, index): [number, number][] => {
        const y = value(figures[of] ?? {});
        return y === undefined ? [] : [[index + 1, y]];
      });
      return points.length === 0 ? [] : [{ name, points }];
    }),
  });
  return [
    plot('From start to guest code, p50', 'ms', 'start', ({ p50 }) => p50 && p50 / 1_000),
    plot('Starts per second', 'per second', 'rate', ({ operationsPerSecond }) => operationsPerSecond),
    plot('Host memory of an idle microVM', 'MiB', 'memory', ({ hostKiB }) => hostKiB && hostKiB / 1_024),
  ];
}
