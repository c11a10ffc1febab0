/** What /proc/meminfo tells of the host's memory, KiB. A counter that the kernel does not have is 0. */
export interface HostMemory {
  totalKiB: number;
  availableKiB: number;
  freeKiB: number;
  buffersKiB: number;
  /** Page cache, with tmpfs and shared memory in it. */
  cachedKiB: number;
  swapCachedKiB: number;
  /** Pages that belong to no file: heaps, stacks, guest memory. */
  anonymousKiB: number;
  /** tmpfs, memfd and shared memory. */
  shmemKiB: number;
  slabKiB: number;
  /** The part of the slab that the kernel gives back when asked: mostly directory entries and inodes. */
  slabReclaimableKiB: number;
  kernelStackKiB: number;
  pageTablesKiB: number;
  /** Page tables of guests, where KVM keeps its own (since Linux 6.1). */
  secondaryPageTablesKiB: number;
  perCpuKiB: number;
  /** Pages of vmalloc, kernel stacks included. */
  vmallocKiB: number;
  /** Set aside for huge pages, used or not. */
  hugetlbKiB: number;
}

const NAMES: Record<keyof HostMemory, string> = {
  totalKiB: 'MemTotal',
  availableKiB: 'MemAvailable',
  freeKiB: 'MemFree',
  buffersKiB: 'Buffers',
  cachedKiB: 'Cached',
  swapCachedKiB: 'SwapCached',
  anonymousKiB: 'AnonPages',
  shmemKiB: 'Shmem',
  slabKiB: 'Slab',
  slabReclaimableKiB: 'SReclaimable',
  kernelStackKiB: 'KernelStack',
  pageTablesKiB: 'PageTables',
  secondaryPageTablesKiB: 'SecPageTables',
  perCpuKiB: 'Percpu',
  vmallocKiB: 'VmallocUsed',
  hugetlbKiB: 'Hugetlb',
};

/** Reads a /proc/meminfo. Throws a RangeError when it has no MemTotal or MemAvailable, which every kernel since 3.14 has. */
export function parseMeminfo(text: string): HostMemory {
  const values = new Map<string, number>();
  for (const [, name, value] of text.matchAll(/^(\w+): +(\d+) kB/gm)) values.set(name!, Number(value));
  for (const name of [NAMES.totalKiB, NAMES.availableKiB])
    if (!values.has(name)) throw new RangeError(`/proc/meminfo holds no ${name}`);
  return Object.fromEntries(
    Object.entries(NAMES).map(([field, name]) => [field, values.get(name) ?? 0]),
  ) as unknown as HostMemory;
}

/** Kernel memory that a counter tells of, KiB. Kernel stacks are vmalloc pages, too, and count once. */
export function countedKernelKiB(memory: HostMemory): number {
  const { slabKiB, kernelStackKiB, pageTablesKiB, secondaryPageTablesKiB, perCpuKiB, vmallocKiB } = memory;
  return slabKiB + pageTablesKiB + secondaryPageTablesKiB + perCpuKiB + Math.max(vmallocKiB, kernelStackKiB);
}

/** Whatever is neither free nor a page of a process, a file or a huge page: the kernel's own, counted or not, KiB. */
export function kernelKiB(memory: HostMemory): number {
  const { totalKiB, freeKiB, anonymousKiB, cachedKiB, buffersKiB, swapCachedKiB, hugetlbKiB } = memory;
  return totalKiB - freeKiB - anonymousKiB - cachedKiB - buffersKiB - swapCachedKiB - hugetlbKiB;
}
