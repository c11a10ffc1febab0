import type { MicrovmSpec } from '#protocol';
import type { Controller } from './hierarchies';

/** Host memory a VMM may take beyond the memory of its guest: its own, its page tables, what the kernel keeps for it. MiB. */
export const MEMORY_OVERHEAD_MIB = 32;
/** And this part of the guest's memory on top, for page tables and the like that grow with it. */
export const MEMORY_OVERHEAD_PART = 1 / 64;
/** Threads of a VMM beside those of its vCPUs, with room to spare. */
export const THREADS_OVERHEAD = 16;

const CPU_PERIOD_US = 100_000;
const MIB = 1024 * 1024;

export interface SlotLimits {
  memoryBytes: number;
  /** As cgroup v2 counts it: 100 is the middle. */
  cpuWeight: number;
  /** Of one CPU. */
  cpuPercent: number;
  threads: number;
}

/** What a microVM's process may take of its host. */
export function limitsOf({
  memoryMiB,
  vcpus,
  limits,
}: Pick<MicrovmSpec, 'memoryMiB' | 'vcpus' | 'limits'>): SlotLimits {
  return {
    memoryBytes: Math.ceil(memoryMiB + MEMORY_OVERHEAD_MIB + memoryMiB * MEMORY_OVERHEAD_PART) * MIB,
    cpuWeight: limits?.cpuWeight ?? Math.min(10_000, 100 * vcpus),
    cpuPercent: limits?.cpuPercent ?? 100 * vcpus,
    threads: vcpus + THREADS_OVERHEAD,
  };
}

/** Files that tell a hierarchy of these limits. One that is missing there is left out, where `optional`. */
export function filesOf(
  version: 1 | 2,
  controllers: readonly Controller[],
  { memoryBytes, cpuWeight, cpuPercent, threads }: SlotLimits,
): { name: string; value: string; optional?: boolean }[] {
  const quota = Math.max(1_000, Math.round((cpuPercent * CPU_PERIOD_US) / 100));
  const all: Record<Controller, [v1: ReturnType<typeof filesOf>, v2: ReturnType<typeof filesOf>]> = {
    memory: [
      [{ name: 'memory.limit_in_bytes', value: String(memoryBytes) }],
      [{ name: 'memory.max', value: String(memoryBytes) }],
    ],
    cpu: [
      [
        // 1024 shares are what weight 100 is.
        { name: 'cpu.shares', value: String(Math.max(2, Math.round((cpuWeight * 1024) / 100))) },
        { name: 'cpu.cfs_period_us', value: String(CPU_PERIOD_US), optional: true },
        { name: 'cpu.cfs_quota_us', value: String(quota), optional: true },
      ],
      [
        { name: 'cpu.weight', value: String(cpuWeight) },
        { name: 'cpu.max', value: `${quota} ${CPU_PERIOD_US}`, optional: true },
      ],
    ],
    pids: [[{ name: 'pids.max', value: String(threads) }], [{ name: 'pids.max', value: String(threads) }]],
    // Bytes and operations of disks are limited by the VMM itself; here only who goes first.
    io: [
      [{ name: 'blkio.bfq.weight', value: String(Math.min(1_000, cpuWeight)), optional: true }],
      [{ name: 'io.weight', value: String(cpuWeight), optional: true }],
    ],
  };
  return controllers.flatMap((controller) => all[controller][version - 1]!);
}
