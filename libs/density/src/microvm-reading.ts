import type { MicrovmSample } from '#protocol';
import type { Throttling } from './control-group';

/** All that was measured of one microVM from outside; the guest is not asked. Formulas: docs/density.md. */
export interface MicrovmReading {
  id: string;
  epoch: number;
  /** When, on the sampler's clock, ms; and when its page tables were walked, of which the sizes below depend. */
  atMs: number;
  walkedAtMs: number;
  residentKiB: number;
  proportionalKiB: number;
  privateKiB: number;
  /** Private pages that are not guest memory. */
  overheadKiB: number;
  /** Guest memory that is no page of a file: touched afresh, or copied on write. */
  guestKiB: number;
  /** Guest memory that others map as well: pages of its template. */
  sharedKiB: number;
  /** Its share of the pages of files that are guest memory, and the part of it that is tmpfs or memfd. */
  sharedProportionalKiB: number;
  sharedShmemKiB: number;
  /** Pages of the VMM's own, its heap and stacks, and its page file on tmpfs. Pages of its program are page cache, one copy for all. */
  vmmKiB: number;
  pageFileKiB: number;
  swapKiB: number;
  pageTablesKiB: number;
  threads: number;
  /** CPU time since it began, and the part of it in which guest code ran, ms. */
  cpuMs: number;
  guestMs: number;
  /** What its vCPU threads ran, and waited for a CPU, since they began, ns. */
  runNs: number;
  delayNs: number;
  /** Since the reading before. */
  cpuCores: number;
  guestCores: number;
  vcpuWaitPercent: number;
  throttling?: Throttling;
}

/** What everybody may hear of it. */
export function sampleOf(reading: MicrovmReading): MicrovmSample {
  const { id, epoch, proportionalKiB, privateKiB, overheadKiB, cpuCores, vcpuWaitPercent } = reading;
  return { id, epoch, proportionalKiB, privateKiB, overheadKiB, cpuCores, vcpuWaitPercent };
}

/** Sums over microVMs; the names are those of {@link MicrovmReading}. */
export interface ReadingSums extends Record<SummedField, number> {
  /** microVMs in the sums: those that have been measured. */
  measured: number;
}

const SUMMED = [
  'residentKiB',
  'proportionalKiB',
  'privateKiB',
  'overheadKiB',
  'guestKiB',
  'sharedKiB',
  'sharedProportionalKiB',
  'sharedShmemKiB',
  'vmmKiB',
  'pageFileKiB',
  'swapKiB',
  'pageTablesKiB',
  'threads',
  'cpuCores',
  'guestCores',
] as const;
type SummedField = (typeof SUMMED)[number];

export function noReadings(): ReadingSums {
  return { measured: 0, ...Object.fromEntries(SUMMED.map((field) => [field, 0])) } as ReadingSums;
}

export function addReading(sums: ReadingSums, reading: MicrovmReading): void {
  sums.measured++;
  for (const field of SUMMED) sums[field] += reading[field];
}

export function sumReadings(readings: Iterable<MicrovmReading>): ReadingSums {
  const sums = noReadings();
  for (const reading of readings) addReading(sums, reading);
  return sums;
}
