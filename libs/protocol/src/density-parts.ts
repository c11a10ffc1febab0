import { z } from 'zod';
import { TenantId } from './ids';

/** Where all of a host's memory is, KiB. The parts are disjoint, and their sum is totalKiB. Definitions: docs/density.md. */
export const MemoryBreakdown = z.strictObject({
  totalKiB: z.number(),
  freeKiB: z.number(),
  /** Pages of files, those of templates that guests map not included. */
  pageCacheKiB: z.number(),
  guestPrivateKiB: z.number(),
  /** Pages of templates that guests map, once each. */
  guestSharedKiB: z.number(),
  vmmKiB: z.number(),
  /** What the kernel holds for microVMs: page tables of their processes, kernel stacks, and all the rest, which is mostly KVM's. */
  microvmPageTablesKiB: z.number(),
  microvmStacksKiB: z.number(),
  microvmKernelKiB: z.number(),
  otherKernelKiB: z.number(),
  otherProcessesKiB: z.number(),
  /** tmpfs and shared memory of others. */
  otherShmemKiB: z.number(),
  hugePagesKiB: z.number(),
  /** In no counter and not charged to microVMs: drivers, network buffers. What was measured wrong ends up here, too. */
  unexplainedKiB: z.number(),
});
export type MemoryBreakdown = z.infer<typeof MemoryBreakdown>;

/** Where the CPU time of a host went in the last window, in cores. The parts are disjoint, and their sum is totalCores. */
export const CpuBreakdown = z.strictObject({
  /** What /proc/stat accounts for, which is the number of CPUs. */
  totalCores: z.number(),
  /** Guest code, and the rest of the VMM processes. */
  guestCores: z.number(),
  vmmCores: z.number(),
  /** All other processes and kernel threads, found by looking at each. */
  otherProcessesCores: z.number(),
  interruptCores: z.number(),
  waitingForIoCores: z.number(),
  /** Taken by the hypervisor that this host itself runs on. */
  stolenCores: z.number(),
  idleCores: z.number(),
  /** Busy by the host's ticks and in no process; negative where processes were measured to take more. */
  unexplainedCores: z.number(),
});
export type CpuBreakdown = z.infer<typeof CpuBreakdown>;

/** Host memory that one more microVM takes beyond its own guest pages, the kernel's share included. */
export const MarginalCost = z.strictObject({
  kib: z.number(),
  /** Standard error, KiB; null where the method tells none. */
  errorKiB: z.number().nullable(),
  /** `slope`: by the host's totals while microVMs came and went. `charged`: the mean of what the kernel charges to their cgroup. */
  method: z.enum(['slope', 'charged']),
});
export type MarginalCost = z.infer<typeof MarginalCost>;

/** How many more microVMs fit, by each of what they need; of the mean size of those that are there. */
export const Fits = z.strictObject({
  slots: z.int(),
  vcpus: z.int(),
  promisedMemory: z.int(),
  /** By the memory that is really available, at what one really takes; null while the marginal cost is not known. */
  availableMemory: z.int().nullable(),
  /** The least of them, and which one it is. */
  microvms: z.int(),
  binding: z.enum(['slots', 'vcpus', 'promisedMemory', 'availableMemory']),
});
export type Fits = z.infer<typeof Fits>;

/** When the host's memory is used up if it goes on like this, seconds from now; the bounds hold 95 % of such trends. */
export const Exhaustion = z.strictObject({
  seconds: z.number(),
  soonestSeconds: z.number(),
  latestSeconds: z.number(),
});
export type Exhaustion = z.infer<typeof Exhaustion>;

/** Counts of observations up to each bound: they only grow, and each contains those below it. */
export const HistogramCounts = z.strictObject({
  /** Ascending; what is larger than the last counts in `count` alone. */
  bounds: z.array(z.number()).max(40),
  counts: z.array(z.int()).max(40),
  count: z.int(),
  sum: z.number(),
});
export type HistogramCounts = z.infer<typeof HistogramCounts>;

/** Work of devices since they began; bytes and requests towards the guest and from it. */
export const DeviceWork = z.strictObject({
  reads: z.number(),
  writes: z.number(),
  readBytes: z.number(),
  writeBytes: z.number(),
  /** Times that a limit made it wait. */
  throttled: z.number(),
});
export type DeviceWork = z.infer<typeof DeviceWork>;

/** Sums over microVMs, measured from outside. */
export const UsageSums = z.strictObject({
  /** microVMs that have been measured; the others are in no sum. */
  measured: z.int(),
  residentKiB: z.number(),
  proportionalKiB: z.number(),
  privateKiB: z.number(),
  overheadKiB: z.number(),
  guestKiB: z.number(),
  /** Guest memory that others map as well, counted for each. */
  sharedKiB: z.number(),
  /** What guests say their balloons hold: a hint. */
  balloonedKiB: z.number(),
  swapKiB: z.number(),
  pageTablesKiB: z.number(),
  cpuCores: z.number(),
  guestCores: z.number(),
  /** Time that CPU limits held them back since they began, ms. */
  throttledMs: z.number(),
  disk: DeviceWork,
  network: DeviceWork,
});
export type UsageSums = z.infer<typeof UsageSums>;

/** What a tenant was promised and takes, on one host or on all. */
export const TenantUsage = z.strictObject({
  tenant: TenantId,
  microvms: z.int(),
  commitment: z.strictObject({ vcpus: z.number(), memoryMiB: z.number() }),
  used: UsageSums,
});
export type TenantUsage = z.infer<typeof TenantUsage>;
