/** Readers of the text of /proc files. Pure: text in, numbers out. Formats: proc(5) and the kernel's own documentation. */

/** Memory of one process in KiB, split at the bounds of guest memory. */
export interface ProcessMemory {
  proportionalKiB: number;
  privateKiB: number;
  /** The part of privateKiB that lies in guest memory. */
  guestPrivateKiB: number;
}

const SMAPS_LINE = /^(?:([0-9a-f]+)-([0-9a-f]+) |(Pss|Private_Clean|Private_Dirty|Private_Hugetlb): +(\d+))/gm;

/**
 * Sums a /proc/<pid>/smaps. A mapping counts as guest memory when it begins within [guestAddress, guestAddress + guestBytes);
 * the kernel may have split guest memory into several.
 */
export function parseSmaps(text: string, guestAddress: bigint, guestBytes: number): ProcessMemory {
  const guestEnd = guestAddress + BigInt(guestBytes);
  const memory: ProcessMemory = { proportionalKiB: 0, privateKiB: 0, guestPrivateKiB: 0 };
  let inGuest = false;
  SMAPS_LINE.lastIndex = 0;
  for (let match = SMAPS_LINE.exec(text); match; match = SMAPS_LINE.exec(text)) {
    if (match[1] !== undefined) {
      const start = BigInt(`0x${match[1]}`);
      inGuest = start >= guestAddress && start < guestEnd;
    } else if (match[3] === 'Pss') {
      memory.proportionalKiB += Number(match[4]);
    } else {
      memory.privateKiB += Number(match[4]);
      if (inGuest) memory.guestPrivateKiB += Number(match[4]);
    }
  }
  return memory;
}

/** Clock ticks per second in /proc/<pid>/stat. A constant of the kernel's interface on x86-64, whatever the kernel's own HZ. */
export const TICKS_PER_SECOND = 100;

export interface ProcessStat {
  command: string;
  /** `Z` and `X` are processes that ended already. */
  state: string;
  /** utime + stime of all threads, ms. */
  cpuMs: number;
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
  const [state, userTicks, systemTicks, startTicks] = [fields[0], fields[11], fields[12], fields[19]];
  if (state === undefined || startTicks === undefined) return undefined;
  const cpuMs = ((Number(userTicks) + Number(systemTicks)) * 1000) / TICKS_PER_SECOND;
  return { command: text.slice(open + 1, close), state, cpuMs, startTicks };
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

export interface HostMemory {
  totalKiB: number;
  availableKiB: number;
}

/** Reads /proc/meminfo. Throws a RangeError when the text has no MemTotal or MemAvailable, which every kernel since 3.14 has. */
export function parseMeminfo(text: string): HostMemory {
  const total = /^MemTotal: +(\d+) kB/m.exec(text);
  const available = /^MemAvailable: +(\d+) kB/m.exec(text);
  if (!total || !available) throw new RangeError('/proc/meminfo holds no MemTotal or no MemAvailable');
  return { totalKiB: Number(total[1]), availableKiB: Number(available[1]) };
}
