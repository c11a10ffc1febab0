import type { MemoryBreakdown } from '#protocol';

/** A part of a host's memory as it is drawn. */
export interface MemoryPart {
  key: string;
  label: string;
  explains: string;
  kib: number;
  /** Of all of the host's memory, 0..1; what was measured to be less than nothing takes no room. */
  share: number;
}

type Part = Exclude<keyof MemoryBreakdown, 'totalKiB'>;

const PARTS: readonly { key: string; label: string; explains: string; of: readonly Part[] }[] = [
  {
    key: 'guest',
    label: 'Guest resident',
    explains: 'Guest memory that belongs to one microVM',
    of: ['guestPrivateKiB'],
  },
  {
    ...{ key: 'shared', label: 'Guest shared', of: ['guestSharedKiB'] },
    explains: 'Pages of templates that guests map, each once, however many clones map it',
  },
  {
    ...{ key: 'vmm', label: 'VMM overhead', of: ['vmmKiB', 'microvmStacksKiB'] },
    explains: 'VMM processes beyond guest memory, and their kernel stacks',
  },
  { key: 'tables', label: 'Page tables', explains: 'Of the VMM processes', of: ['microvmPageTablesKiB'] },
  {
    ...{ key: 'kernel', label: 'Kernel', of: ['microvmKernelKiB', 'otherKernelKiB'] },
    explains: "KVM's structures, slab and page tables of others",
  },
  {
    ...{ key: 'others', label: 'Other processes', of: ['otherProcessesKiB', 'otherShmemKiB', 'hugePagesKiB'] },
    explains: 'Everything on this machine that is no microVM, tmpfs and huge pages included',
  },
  { key: 'cache', label: 'Page cache', explains: 'Pages of files; the kernel gives them back', of: ['pageCacheKiB'] },
  {
    ...{ key: 'unexplained', label: 'Unexplained', of: ['unexplainedKiB'] },
    explains: 'In no counter of the kernel; what is measured wrong shows here, too',
  },
  { key: 'free', label: 'Free', explains: 'MemFree', of: ['freeKiB'] },
];

/** Where all memory of a host is: parts that are disjoint and sum to the whole. */
export function memoryParts(memory: MemoryBreakdown): MemoryPart[] {
  return PARTS.map(({ key, label, explains, of }) => {
    const kib = of.reduce((sum, part) => sum + memory[part], 0);
    return { key, label, explains, kib, share: Math.max(0, kib) / Math.max(1, memory.totalKiB) };
  });
}
