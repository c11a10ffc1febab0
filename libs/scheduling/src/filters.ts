import type { Candidate, Demand } from './candidate';

export interface FilterResult {
  name: string;
  passed: boolean;
  /** The numbers behind the verdict, for the receipt. */
  detail: string;
}

/** A report older than this says nothing about a host, ms. */
export const REPORT_MAX_AGE_MS = 5_000;

type Filter = (host: Candidate, demand: Demand) => FilterResult;

const FILTERS: readonly Filter[] = [
  ({ ready, state }) => ({ name: 'state', passed: ready, detail: state }),
  ({ hostId }, { excluded }) => {
    const passed = !excluded.includes(hostId);
    return { name: 'notExcluded', passed, detail: passed ? 'not excluded' : 'refused or lost it before' };
  },
  ({ kvmAvailable }) => ({
    name: 'kvm',
    passed: kvmAvailable,
    detail: kvmAvailable ? 'available' : 'no usable /dev/kvm',
  }),
  ({ images, linux }, { image, imported }) =>
    imported
      ? { name: 'image', passed: linux, detail: linux ? 'boots Linux images' : 'does not boot Linux images' }
      : { name: 'image', passed: images.includes(image), detail: `offers ${images.join(', ') || 'none'}` },
  ({ network }, demand) => ({
    name: 'network',
    passed: network || !demand.network,
    detail: !demand.network ? 'not asked' : network ? 'available' : 'not available',
  }),
  ({ reportAgeMs }) => ({
    name: 'report',
    passed: reportAgeMs !== null && reportAgeMs <= REPORT_MAX_AGE_MS,
    detail: reportAgeMs === null ? 'no report yet' : `${Math.round(reportAgeMs)} ms old, at most ${REPORT_MAX_AGE_MS}`,
  }),
  ({ free }) => ({ name: 'slots', passed: free.slots >= 1, detail: `${free.slots} free` }),
  ({ free }, { vcpus }) => ({
    name: 'vcpus',
    passed: free.vcpus >= vcpus,
    detail: `${round(free.vcpus)} free, ${vcpus} asked`,
  }),
  ({ free }, { memoryMiB }) => ({
    name: 'memory',
    passed: free.memoryMiB >= memoryMiB,
    detail: `${round(free.memoryMiB)} MiB free, ${memoryMiB} asked`,
  }),
];

/** Every filter's verdict, also after one has failed: a receipt names all reasons. */
export function applyFilters(host: Candidate, demand: Demand): FilterResult[] {
  return FILTERS.map((filter) => filter(host, demand));
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
