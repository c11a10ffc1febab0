import type { Plot } from '../plot/svg-plot';
import type { CloneResult } from './clone.bench';

/** Whether a clone takes longer the more of them there are. */
export function clonePlots({ windows }: Pick<CloneResult, 'windows'>): Plot[] {
  const series = (name: 'p50' | 'p99') => ({
    name,
    points: windows.map((window) => [window.to, window[name]] as const),
  });
  return [
    {
      ...{ title: 'From the order to a clone that is ready', x: { label: 'clones on the host' }, y: { label: 'ms' } },
      series: [series('p50'), series('p99')],
    },
  ];
}
