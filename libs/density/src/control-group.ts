import type { ProcReader } from './proc-reader';

/** Directories of one cgroup, by the controller that counts there. Absent: nothing counts it. */
export interface ControlGroup {
  memory?: { version: 1 | 2; directory: string };
  cpu?: { version: 1 | 2; directory: string };
}

/** What the kernel charges to a cgroup and all below it, KiB. */
export interface ChargedMemory {
  anonymousKiB: number;
  /** All kernel memory: page tables, stacks, slab, and pages that no counter of /proc/meminfo tells of, such as most of KVM's. */
  kernelKiB: number;
  /** The part of kernelKiB that counters of /proc/meminfo contain; undefined where the cgroup does not tell it (v1). */
  countedKernelKiB?: number;
}

/** How often and how long a CPU limit held something back. */
export interface Throttling {
  periods: number;
  ms: number;
}

const number = (text: string, name: string): number => Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(text)?.[1] ?? 0);
const KIB = 1024;

/** Reads what is charged to a cgroup; undefined where no memory controller counts. Formats: cgroup-v1/memory and cgroup-v2 of the kernel. */
export function readCharged(proc: ProcReader, { memory }: ControlGroup): ChargedMemory | undefined {
  if (!memory) return undefined;
  const stat = proc.read(`${memory.directory}/memory.stat`);
  if (stat === undefined) return undefined;
  if (memory.version === 1) {
    const kernel = proc.read(`${memory.directory}/memory.kmem.usage_in_bytes`);
    if (kernel === undefined) return undefined;
    return { anonymousKiB: number(stat, 'total_rss') / KIB, kernelKiB: Number(kernel) / KIB };
  }
  const counted = ['slab', 'kernel_stack', 'pagetables', 'sec_pagetables', 'percpu', 'vmalloc'];
  const kernel = /^kernel (\d+)$/m.exec(stat)?.[1]; // since Linux 5.18
  const countedKernelKiB = counted.reduce((sum, name) => sum + number(stat, name), 0) / KIB;
  return {
    anonymousKiB: number(stat, 'anon') / KIB,
    kernelKiB: kernel === undefined ? countedKernelKiB : Number(kernel) / KIB,
    // Stacks are vmalloc pages, and both lines contain them.
    countedKernelKiB: countedKernelKiB - Math.min(number(stat, 'kernel_stack'), number(stat, 'vmalloc')) / KIB,
  };
}

/** Reads how a CPU limit held the processes of a cgroup back; undefined where no cpu controller limits. */
export function readThrottling(proc: ProcReader, { cpu }: ControlGroup): Throttling | undefined {
  const text = cpu && proc.read(`${cpu.directory}/cpu.stat`);
  if (text === undefined || !/^nr_throttled /m.test(text)) return undefined;
  const ms = cpu!.version === 1 ? number(text, 'throttled_time') / 1e6 : number(text, 'throttled_usec') / 1e3;
  return { periods: number(text, 'nr_throttled'), ms };
}
