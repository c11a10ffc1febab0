import type { Plot } from '../plot/svg-plot';
import type { DensityResult } from './density.bench';

const MIB = 1_024;

/** Start latency and memory over the number of microVMs on the host. */
export function densityPlots({ windows, fill }: DensityResult): Plot[] {
  const over = (value: (window: DensityResult['windows'][number]) => number | undefined): [number, number][] =>
    windows.flatMap((window) => {
      const y = value(window);
      return y === undefined ? [] : [[window.to, y]];
    });
  const first = fill[0]?.hostUsedKiB ?? 0;
  const x = { label: 'microVMs on the host' };
  return [
    {
      ...{ title: 'From admission to guest code', x, y: { label: 'ms' } },
      series: [
        { name: 'p50', points: over(({ admissionToGuest }) => admissionToGuest?.p50) },
        { name: 'p99', points: over(({ admissionToGuest }) => admissionToGuest?.p99) },
      ],
    },
    {
      ...{ title: 'CPU time of the whole host for one more microVM', x, y: { label: 'ms' } },
      series: [
        { name: 'host', points: over(({ cpuMsEach }) => cpuMsEach?.['host']) },
        { name: 'VMM', points: over(({ cpuMsEach }) => cpuMsEach?.['vmms']) },
      ],
    },
    {
      ...{ title: 'Memory of the host, control plane included', x, y: { label: 'MiB' } },
      series: [
        { name: 'used', points: fill.map(({ microvms, hostUsedKiB }) => [microvms, (hostUsedKiB - first) / MIB]) },
      ],
    },
  ];
}
