/** Readers of the text of /proc files. Pure: text in, numbers out. Formats: proc(5) and the kernel's own documentation. */

/** Memory of one process in KiB, split at the bounds of guest memory. */
export interface ProcessMemory {
  residentKiB: number;
  /** Shared pages counted by their share. */
  proportionalKiB: number;
  /** Pages that nobody else maps. */
  privateKiB: number;
  /** Pages of no file. */
  anonymousKiB: number;
  swapKiB: number;
  /** The parts of these sizes that lie in guest memory. */
  guestResidentKiB: number;
  guestProportionalKiB: number;
  guestPrivateKiB: number;
  /** Guest memory that is no page of a file: touched afresh, or copied on write. */
  guestAnonymousKiB: number;
  /** The parts of proportional sizes whose pages are of tmpfs or memfd: in guest memory, and outside, which is the page file. */
  guestShmemKiB: number;
  vmmShmemKiB: number;
}

const SMAPS_LINE =
  /^(?:([0-9a-f]+)-[0-9a-f]+ \S+ \S+ \S+ \d+ *(.*)|(Rss|Pss|Private_Clean|Private_Dirty|Private_Hugetlb|Anonymous|Swap): +(\d+) kB)$/gm;
/** Names under which memfd, shared anonymous memory and tmpfs files appear. */
const SHMEM = /^\/(?:memfd:|dev\/zero|dev\/shm\/|run\/|SYSV)/;

/**
 * Sums a /proc/<pid>/smaps. A mapping counts as guest memory when it begins within [guestAddress, guestAddress + guestBytes);
 * the kernel may have split guest memory into several. Pages that are not anonymous are told to be tmpfs pages by the name of
 * their mapping.
 */
export function parseSmaps(text: string, guestAddress: bigint, guestBytes: number): ProcessMemory {
  // As numbers: addresses of a process lie below 2^47.
  const guestStart = Number(guestAddress);
  const guestEnd = guestStart + guestBytes;
  const memory: ProcessMemory = {
    ...{ residentKiB: 0, proportionalKiB: 0, privateKiB: 0, anonymousKiB: 0, swapKiB: 0 },
    ...{ guestResidentKiB: 0, guestProportionalKiB: 0, guestPrivateKiB: 0 },
    ...{ guestAnonymousKiB: 0, guestShmemKiB: 0, vmmShmemKiB: 0 },
  };
  let inGuest = false;
  let isShmem = false;
  SMAPS_LINE.lastIndex = 0;
  for (let match = SMAPS_LINE.exec(text); match; match = SMAPS_LINE.exec(text)) {
    const [, address, mapped, name, kib] = match;
    if (address !== undefined) {
      const start = parseInt(address, 16);
      inGuest = start >= guestStart && start < guestEnd;
      isShmem = SHMEM.test(mapped!);
      continue;
    }
    const value = Number(kib);
    if (value === 0) continue;
    if (name === 'Swap') memory.swapKiB += value;
    else if (name === 'Rss') {
      memory.residentKiB += value;
      if (inGuest) memory.guestResidentKiB += value;
    } else if (name === 'Pss') {
      memory.proportionalKiB += value;
      if (inGuest) memory.guestProportionalKiB += value;
      if (isShmem) memory[inGuest ? 'guestShmemKiB' : 'vmmShmemKiB'] += value;
    } else if (name === 'Anonymous') {
      memory.anonymousKiB += value;
      if (inGuest) memory.guestAnonymousKiB += value;
      if (isShmem) memory[inGuest ? 'guestShmemKiB' : 'vmmShmemKiB'] -= value;
    } else {
      memory.privateKiB += value;
      if (inGuest) memory.guestPrivateKiB += value;
    }
  }
  return memory;
}

/** Sizes of a process that the kernel keeps count of, so that asking for them walks no page tables, KiB. */
export interface CountedMemory {
  /** Pages of its own: guest memory, heap, stacks. */
  anonymousKiB: number;
  /** Pages of files that it maps. */
  fileKiB: number;
  /** tmpfs and memfd pages that it maps. */
  shmemKiB: number;
  /** Page tables of the process, those of the guest not included. */
  pageTablesKiB: number;
  threads: number;
}

/** Reads a /proc/<pid>/status. Undefined when it has no memory: a kernel thread, or a process that has ended. */
export function parseStatus(text: string): CountedMemory | undefined {
  const at = text.indexOf('\nRssAnon:');
  if (at < 0) return undefined;
  const field = (name: string): number => {
    const start = text.indexOf(`\n${name}:`, at);
    return start < 0 ? 0 : parseInt(text.slice(start + name.length + 2, start + name.length + 24), 10);
  };
  return {
    anonymousKiB: field('RssAnon'),
    fileKiB: field('RssFile'),
    shmemKiB: field('RssShmem'),
    pageTablesKiB: field('VmPTE'),
    threads: field('Threads'),
  };
}

/** Clock ticks per second in /proc/<pid>/stat. A constant of the kernel's interface on x86-64, whatever the kernel's own HZ. */
export const TICKS_PER_SECOND = 100;

export interface ProcessStat {
  command: string;
  /** `Z` and `X` are processes that ended already. */
  state: string;
  /** utime + stime of all threads, ms. */
  cpuMs: number;
  /** The part of cpuMs in which guest code ran, ms. */
  guestMs: number;
  /** utime + stime of children that have ended and were waited for, theirs included, ms. */
  childrenMs: number;
  /** Start time in ticks since boot, as text: with the pid it names one process. */
  startTicks: string;
}

/** Reads a /proc/<pid>/stat; the command may itself hold spaces and parentheses. Undefined when it is not one. */
export function parseProcessStat(text: string): ProcessStat | undefined {
  const open = text.indexOf('(');
  const close = text.lastIndexOf(')');
  if (open < 0 || close < open) return undefined;
  const fields = text
    .slice(close + 2)
    .trim()
    .split(' ');
  const [state, startTicks] = [fields[0], fields[19]];
  if (state === undefined || startTicks === undefined) return undefined;
  const ms = (...indices: number[]): number =>
    (indices.reduce((ticks, index) => ticks + Number(fields[index] ?? 0), 0) * 1000) / TICKS_PER_SECOND;
  return {
    command: text.slice(open + 1, close),
    state,
    ...{ cpuMs: ms(11, 12), guestMs: ms(40), childrenMs: ms(13, 14) },
    startTicks,
  };
}

/** ns a thread ran, and ns it waited on a run queue, since it began. */
export interface ThreadSchedule {
  runNs: number;
  delayNs: number;
}

/** Reads a /proc/<pid>/task/<tid>/schedstat: run time, wait time, number of timeslices. */
export function parseSchedstat(text: string): ThreadSchedule | undefined {
  const [runNs, delayNs] = text.trim().split(' ').map(Number);
  if (runNs === undefined || delayNs === undefined || Number.isNaN(runNs + delayNs)) return undefined;
  return { runNs, delayNs };
}

/** Share of the last ten seconds in which some (or all) tasks stalled, percent. */
export interface Pressure {
  some: number;
  full: number | null;
}

/** Reads a /proc/pressure/<resource>. Null when it holds no figures. */
export function parsePressure(text: string): Pressure | null {
  const some = /^some avg10=([\d.]+)/m.exec(text);
  if (!some) return null;
  const full = /^full avg10=([\d.]+)/m.exec(text);
  return { some: Number(some[1]), full: full ? Number(full[1]) : null };
}

/** CPU time of the whole host since boot, ms. The kernel counts it in ticks. */
export interface HostCpu {
  /** user, nice and system: processes, guests and kernel threads. */
  busyMs: number;
  interruptMs: number;
  idleMs: number;
  waitingForIoMs: number;
  /** Taken by the hypervisor that this host itself runs on. */
  stolenMs: number;
}

/** Reads the first line of /proc/stat. Throws a RangeError when there is none. */
export function parseHostCpu(text: string): HostCpu {
  const line = /^cpu +(.+)$/m.exec(text);
  if (!line) throw new RangeError('/proc/stat holds no line of all CPUs');
  // user, nice, system, idle, iowait, irq, softirq, steal; guest and guest_nice are in user and nice already.
  const ticks = line[1]!.split(' ').map(Number);
  const ms = (...indices: number[]): number =>
    (indices.reduce((sum, index) => sum + (ticks[index] ?? 0), 0) * 1000) / TICKS_PER_SECOND;
  return {
    ...{ busyMs: ms(0, 1, 2), idleMs: ms(3), waitingForIoMs: ms(4), interruptMs: ms(5, 6), stolenMs: ms(7) },
  };
}
