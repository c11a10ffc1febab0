import { classOf, type MicrovmSpec } from '#protocol';
import type { Controller } from './hierarchies';

/** Host memory a VMM may take beyond the memory of its guest: its own, its page tables, what the kernel keeps for it. MiB. */
export const MEMORY_OVERHEAD_MIB = 32;
/** And this part of the guest's memory on top, for page tables and the like that grow with it. */
export const MEMORY_OVERHEAD_PART = 1 / 64;
/** Threads of a VMM beside those of its vCPUs, with room to spare. */
export const THREADS_OVERHEAD = 16;

const CPU_PERIOD_US = 100_000;
/** Of the CPUs, when host and microVMs want them all: so many times what one process of the host gets on each. */
const MICROVMS_TO_PROCESS = 4;
/**
 * The same for one vCPU of a guaranteed microVM that is weighed against processes of the host itself: with one of them on its CPU it
 * waits for 1 / 33 of the time, within the 5 % that its class is to wait at most.
 */
const VCPU_TO_PROCESS = 32;
/** The most that v1 takes. */
const MOST_SHARES = 262_144;
const MIB = 1024 * 1024;

export interface SlotLimits {
  memoryBytes: number;
  /** As cgroup v2 counts it: 100 is the middle. */
  cpuWeight: number;
  /** Of one CPU. */
  cpuPercent: number;
  threads: number;
  /** Runs when nobody else wants to, and gives back memory first. */
  bestEffort: boolean;
}

/** What a microVM's process may take of its host. */
export function limitsOf(spec: Pick<MicrovmSpec, 'memoryMiB' | 'vcpus' | 'limits' | 'class'>): SlotLimits {
  const { memoryMiB, vcpus, limits } = spec;
  return {
    memoryBytes: Math.ceil(memoryMiB + MEMORY_OVERHEAD_MIB + memoryMiB * MEMORY_OVERHEAD_PART) * MIB,
    cpuWeight: limits?.cpuWeight ?? Math.min(10_000, 100 * vcpus),
    cpuPercent: limits?.cpuPercent ?? 100 * vcpus,
    threads: vcpus + THREADS_OVERHEAD,
    bestEffort: classOf(spec) === 'bestEffort',
  };
}

/** The weight of all microVMs of a host together. The kernel spreads the weight of a group over the CPUs on which it has something to do. */
export function weightOfAll(version: 1 | 2, cpus: number): { name: string; value: string } {
  const processes = MICROVMS_TO_PROCESS * cpus;
  return version === 1
    ? { name: 'cpu.shares', value: String(Math.min(MOST_SHARES, 1_024 * processes)) }
    : { name: 'cpu.weight', value: String(Math.min(10_000, 100 * processes)) };
}

/**
 * Files that tell a hierarchy of these limits. One that is missing there is left out, where `optional`; where `costly`, a write makes the
 * kernel walk all groups of the host, so it is left out when the file says so already, as that of a new group may. `amongProcesses`: the
 * group's neighbours are the processes of the host, and not the groups of other microVMs alone.
 */
export function filesOf(
  version: 1 | 2,
  controllers: readonly Controller[],
  { memoryBytes, cpuWeight, cpuPercent, threads, bestEffort }: SlotLimits,
  amongProcesses = false,
): { name: string; value: string; optional?: boolean; costly?: boolean }[] {
  const quota = Math.max(1_000, Math.round((cpuPercent * CPU_PERIOD_US) / 100));
  // A group that is idle takes no weight: that is set while it is not. An idle one is left at once for any other that wakes up.
  const notIdle = { name: 'cpu.idle', value: '0', optional: true };
  const idle = bestEffort ? [{ name: 'cpu.idle', value: '1', optional: true }] : [];
  // Where there is no cpu.idle, the least weight comes nearest to it.
  const weight = bestEffort ? 1 : cpuWeight;
  // 1024 shares are what weight 100 is.
  const shares = Math.round((weight * 1_024 * (amongProcesses && !bestEffort ? VCPU_TO_PROCESS : 1)) / 100);
  const protectedBytes = String(bestEffort ? 0 : memoryBytes);
  const all: Record<Controller, [v1: ReturnType<typeof filesOf>, v2: ReturnType<typeof filesOf>]> = {
    memory: [
      [
        { name: 'memory.limit_in_bytes', value: String(memoryBytes) },
        { name: 'memory.soft_limit_in_bytes', value: protectedBytes, optional: true },
      ],
      [
        { name: 'memory.max', value: String(memoryBytes) },
        { name: 'memory.low', value: protectedBytes, optional: true },
      ],
    ],
    cpu: [
      [
        notIdle,
        { name: 'cpu.shares', value: String(Math.min(MOST_SHARES, Math.max(2, shares))) },
        ...idle,
        { name: 'cpu.cfs_period_us', value: String(CPU_PERIOD_US), optional: true, costly: true },
        { name: 'cpu.cfs_quota_us', value: String(quota), optional: true, costly: true },
      ],
      [
        notIdle,
        { name: 'cpu.weight', value: String(weight) },
        ...idle,
        { name: 'cpu.max', value: `${quota} ${CPU_PERIOD_US}`, optional: true },
      ],
    ],
    pids: [[{ name: 'pids.max', value: String(threads) }], [{ name: 'pids.max', value: String(threads) }]],
    // Bytes and operations of disks are limited by the VMM itself; here only who goes first.
    io: [
      [{ name: 'blkio.bfq.weight', value: String(Math.min(1_000, weight)), optional: true }],
      [{ name: 'io.weight', value: String(weight), optional: true }],
    ],
  };
  return controllers.flatMap((controller) => all[controller][version - 1]!);
}
