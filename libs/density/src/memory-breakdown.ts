import type { MemoryBreakdown } from '#protocol';
import type { ChargedMemory } from './control-group';
import { countedKernelKiB, kernelKiB, type HostMemory } from './meminfo';
import type { ReadingSums } from './microvm-reading';

/** Pages of one kernel stack on x86-64, KiB. */
const STACK_KIB = 16;

export interface BreakdownInputs {
  memory: HostMemory;
  /** microVMs that run; those not measured yet are taken to be like the mean of the others. */
  microvms: number;
  sums: ReadingSums;
  charged?: ChargedMemory | undefined;
  /** Kernel pages of one microVM that are in no counter, KiB; undefined while nothing is known of it. */
  uncountedEachKiB?: number | undefined;
}

export function breakDownMemory({
  memory,
  microvms,
  sums,
  charged,
  uncountedEachKiB = 0,
}: BreakdownInputs): MemoryBreakdown {
  const scale = sums.measured > 0 ? microvms / sums.measured : 0;
  const guestPrivateKiB = sums.guestKiB * scale;
  const guestSharedKiB = sums.sharedProportionalKiB; // of all that map a page: those not measured are missing from it
  const vmmAnonymousKiB = sums.vmmKiB * scale;
  const pageFilesKiB = sums.pageFileKiB * scale;
  const sharedFileKiB = guestSharedKiB - sums.sharedShmemKiB;

  const countedKiB = countedKernelKiB(memory);
  const uncountedKiB = kernelKiB(memory) - countedKiB;
  const microvmPageTablesKiB = sums.pageTablesKiB * scale;
  const microvmStacksKiB = sums.threads * scale * STACK_KIB;
  const namedKiB = microvmPageTablesKiB + microvmStacksKiB;
  // Kernel memory of microVMs is in the host's counters, except for pages that KVM takes without counting them.
  const whole = Math.max(namedKiB, charged?.kernelKiB ?? namedKiB + uncountedEachKiB * microvms);
  const inCounters = charged?.countedKernelKiB ?? whole - Math.min(uncountedEachKiB * microvms, whole - namedKiB);
  const microvmCountedKiB = Math.min(inCounters, countedKiB);
  const microvmUncountedKiB = Math.max(0, Math.min(whole - inCounters, uncountedKiB));

  const parts = {
    freeKiB: memory.freeKiB,
    pageCacheKiB: memory.cachedKiB - memory.shmemKiB + memory.buffersKiB + memory.swapCachedKiB - sharedFileKiB,
    guestPrivateKiB,
    guestSharedKiB,
    vmmKiB: vmmAnonymousKiB + pageFilesKiB,
    microvmPageTablesKiB,
    microvmStacksKiB,
    microvmKernelKiB: Math.max(0, microvmCountedKiB + microvmUncountedKiB - namedKiB),
    otherKernelKiB: countedKiB - microvmCountedKiB,
    otherProcessesKiB: memory.anonymousKiB - guestPrivateKiB - vmmAnonymousKiB,
    otherShmemKiB: memory.shmemKiB - pageFilesKiB - sums.sharedShmemKiB,
    hugePagesKiB: memory.hugetlbKiB,
  };
  const explained = Object.values(parts).reduce((sum, part) => sum + part, 0);
  return { totalKiB: memory.totalKiB, ...parts, unexplainedKiB: memory.totalKiB - explained };
}
