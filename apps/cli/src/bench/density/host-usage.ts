import { readdirSync, readFileSync } from 'node:fs';
import { parseMeminfo, parseProcessStat, parseSchedstat, parseSmaps } from '#density';

/** One reading of the host while it is filled. */
export interface UsagePoint {
  /** microVMs that ran. */
  microvms: number;
  /** ms since the first create was sent. */
  atMs: number;
  /** MemTotal - MemAvailable, KiB. */
  hostUsedKiB: number;
  /** Of it, memory of the control plane and the agent: the sum of their RSS, KiB. */
  controlPlaneKiB: number;
  /** CPU time, ms: of all of the host, of each process of the control plane and the agent, and of this program, the `client`. */
  busyMs: number;
  cpuMs: Record<string, number>;
}

const TICK_MS = 10;

/** Reads a few small files only: it is read while everything else is busy. */
export function readUsage(microvms: number, atMs: number, pids: Record<string, number>): UsagePoint {
  const { totalKiB, availableKiB } = parseMeminfo(readFileSync('/proc/meminfo', 'latin1'));
  const names = Object.keys(pids);
  return {
    ...{ microvms, atMs, hostUsedKiB: totalKiB - availableKiB, busyMs: busyMs(readFileSync('/proc/stat', 'latin1')) },
    controlPlaneKiB: names.reduce((sum, name) => sum + residentKiB(pids[name]!), 0),
    cpuMs: { ...Object.fromEntries(names.map((name) => [name, cpuMs(pids[name]!)])), client: ownCpuMs() },
  };
}

/** The first line of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal, in ticks of 10 ms. */
export function busyMs(stat: string): number {
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = (/^cpu +(.*)$/m.exec(stat)?.[1] ?? '')
    .split(' ')
    .map(Number);
  return (user + nice + system + irq + softirq) * TICK_MS;
}

function cpuMs(pid: number): number {
  return parseProcessStat(textOf(`/proc/${pid}/stat`))?.cpuMs ?? 0;
}

function ownCpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
}

/** CPU time of a VMM until now, all its threads, ms. Not from its `stat`, which counts in steps of 10 ms: more than a start takes. */
export function vmmCpuMs(pid: number): number {
  let ns = 0;
  try {
    for (const thread of readdirSync(`/proc/${pid}/task`))
      ns += parseSchedstat(textOf(`/proc/${pid}/task/${thread}/schedstat`))?.runNs ?? 0;
  } catch {
    // ended meanwhile
  }
  return ns / 1e6;
}

function residentKiB(pid: number): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(textOf(`/proc/${pid}/status`))?.[1] ?? 0);
}

/** Memory of all VMMs, in sum. */
export interface VmmMemory {
  vmms: number;
  residentKiB: number;
  proportionalKiB: number;
  privateKiB: number;
  /** Of privateKiB, what lies in guest memory. */
  guestKiB: number;
}

/** Walks the page tables of every VMM: some 0.3 ms for each, so not while starts are measured. */
export function memoryOf(pids: readonly number[], guestMiB: number): VmmMemory {
  const sum: VmmMemory = { vmms: 0, residentKiB: 0, proportionalKiB: 0, privateKiB: 0, guestKiB: 0 };
  for (const pid of pids) {
    const text = textOf(`/proc/${pid}/smaps`);
    if (text === '') continue; // ended meanwhile
    const guest = guestMapping(text, guestMiB * 2 ** 20);
    const { proportionalKiB, privateKiB, guestPrivateKiB } = parseSmaps(text, guest, guestMiB * 2 ** 20);
    sum.vmms++;
    sum.residentKiB += [...text.matchAll(/^Rss: +(\d+)/gm)].reduce((total, [, kib]) => total + Number(kib), 0);
    sum.proportionalKiB += proportionalKiB;
    sum.privateKiB += privateKiB;
    sum.guestKiB += guestPrivateKiB;
  }
  return sum;
}

/** Where guest memory begins: the one mapping of its size. */
function guestMapping(smaps: string, bytes: number): bigint {
  for (const [, from, to] of smaps.matchAll(/^([0-9a-f]+)-([0-9a-f]+) /gm)) {
    const start = BigInt(`0x${from}`);
    if (BigInt(`0x${to}`) - start === BigInt(bytes)) return start;
  }
  return 0n;
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}
