import type { CpuBreakdown } from '#protocol';
import { parseHostCpu, parseProcessStat, type HostCpu } from './proc-files';
import type { ProcReader } from './proc-reader';

interface Spent {
  cpuMs: number;
  /** The part of it in which guest code ran. */
  guestMs: number;
}

/** One look at the CPU time of a host and of every process on it; two make a breakdown. */
export interface CpuLook {
  atMs: number;
  host: HostCpu;
  /** By process id. */
  vmms: ReadonlyMap<number, Spent>;
  /** Of all other processes and kernel threads, with the children they have waited for. */
  othersMs: number;
}

/** Undefined of no time. */
export function breakDownCpu(before: CpuLook, now: CpuLook): CpuBreakdown | undefined {
  const elapsedMs = now.atMs - before.atMs;
  if (elapsedMs <= 0) return undefined;
  const cores = (ms: number): number => Math.max(0, ms) / elapsedMs;
  const ofHost = (field: keyof HostCpu): number => cores(now.host[field] - before.host[field]);
  // A VMM that was not there before did all of its work since then; what one did that has ended meanwhile nobody tells any more.
  let vmmsMs = 0;
  let guestsMs = 0;
  for (const [pid, { cpuMs, guestMs }] of now.vmms) {
    const was = before.vmms.get(pid) ?? { cpuMs: 0, guestMs: 0 };
    vmmsMs += cpuMs - was.cpuMs;
    // The kernel counts guest time in ticks that happened to hit it, CPU time by the clock: a guest in step with the ticks gets too many.
    guestsMs += Math.min(guestMs - was.guestMs, cpuMs - was.cpuMs);
  }
  const busyCores = ofHost('busyMs');
  const busy = {
    guestCores: cores(guestsMs),
    vmmCores: cores(vmmsMs - guestsMs),
    otherProcessesCores: cores(now.othersMs - before.othersMs),
  };
  const rest = {
    interruptCores: ofHost('interruptMs'),
    waitingForIoCores: ofHost('waitingForIoMs'),
    stolenCores: ofHost('stolenMs'),
    idleCores: ofHost('idleMs'),
  };
  const sum = (parts: Record<string, number>): number => Object.values(parts).reduce((total, part) => total + part, 0);
  return { totalCores: busyCores + sum(rest), ...busy, ...rest, unexplainedCores: busyCores - sum(busy) };
}

/** Looks at every process of the host. `agentPid` waits for VMMs, which are counted by themselves, so its children do not count. */
export function lookAtCpu(
  proc: ProcReader,
  inputs: { atMs: number; host: HostCpu; vmms: ReadonlySet<number>; agentPid: number },
): CpuLook {
  const vmms = new Map<number, Spent>();
  let othersMs = 0;
  for (const name of proc.list('/proc')) {
    const pid = Number(name);
    const text = pid > 0 ? proc.read(`/proc/${name}/stat`) : undefined;
    const stat = text === undefined ? undefined : parseProcessStat(text);
    if (!stat) continue;
    const { cpuMs, guestMs, childrenMs } = stat;
    if (inputs.vmms.has(pid)) vmms.set(pid, { cpuMs, guestMs });
    else othersMs += cpuMs + (pid === inputs.agentPid ? 0 : childrenMs);
  }
  return { atMs: inputs.atMs, host: inputs.host, vmms, othersMs };
}

/** Looks at the host's CPU time now and then, and tells where it went between two looks. */
export class CpuWatch {
  #before: CpuLook | undefined;
  #latest: CpuBreakdown | undefined;

  /** `windowMs`: between two looks, which read a file of every process. */
  constructor(
    private readonly proc: ProcReader,
    private readonly agentPid: number,
    private readonly windowMs: number,
  ) {}

  /** Of the last window that has ended; undefined before. */
  read(atMs: number, vmms: () => ReadonlySet<number>): CpuBreakdown | undefined {
    if (this.#before && atMs - this.#before.atMs < this.windowMs) return this.#latest;
    const host = parseHostCpu(this.proc.read('/proc/stat') ?? '');
    const look = lookAtCpu(this.proc, { atMs, host, vmms: vmms(), agentPid: this.agentPid });
    if (this.#before) this.#latest = breakDownCpu(this.#before, look);
    this.#before = look;
    return this.#latest;
  }
}
