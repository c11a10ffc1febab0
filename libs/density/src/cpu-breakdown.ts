import type { CpuBreakdown } from '#protocol';
import type { CpuTime } from './microvm-sampler';
import { parseProcessStat, type HostCpu } from './proc-files';
import type { ProcReader } from './proc-reader';

/** One look at a host's CPU time; two make a breakdown. */
export interface CpuLook {
  atMs: number;
  host: HostCpu;
  microvms: Pick<CpuTime, 'cpuMs' | 'guestMs'>;
  otherProcessesMs: number;
}

export function breakDownCpu(before: CpuLook, now: CpuLook): CpuBreakdown | undefined {
  const elapsedMs = now.atMs - before.atMs;
  if (elapsedMs <= 0) return undefined;
  const cores = (ms: (look: CpuLook) => number): number => Math.max(0, ms(now) - ms(before)) / elapsedMs;
  const guestCores = cores((look) => look.microvms.guestMs);
  const vmmCores = cores((look) => look.microvms.cpuMs - look.microvms.guestMs);
  const otherProcessesCores = cores((look) => look.otherProcessesMs);
  const busyCores = cores((look) => look.host.busyMs);
  const rest = {
    interruptCores: cores((look) => look.host.interruptMs),
    waitingForIoCores: cores((look) => look.host.waitingForIoMs),
    stolenCores: cores((look) => look.host.stolenMs),
    idleCores: cores((look) => look.host.idleMs),
  };
  return {
    totalCores: busyCores + Object.values(rest).reduce((sum, part) => sum + part, 0),
    ...{ guestCores, vmmCores, otherProcessesCores },
    ...rest,
    unexplainedCores: busyCores - guestCores - vmmCores - otherProcessesCores,
  };
}

/**
 * CPU time of all processes that are not among `vmms`, kernel threads included, with that of the children they waited for, ms.
 * `agentPid` waits for VMMs, whose time is known already, so its children do not count.
 */
export function otherProcessesMs(proc: ProcReader, vmms: ReadonlySet<number>, agentPid: number): number {
  let sumMs = 0;
  for (const name of proc.list('/proc')) {
    const pid = Number(name);
    if (!(pid > 0) || vmms.has(pid)) continue;
    const text = proc.read(`/proc/${name}/stat`);
    const stat = text === undefined ? undefined : parseProcessStat(text);
    if (stat) sumMs += stat.cpuMs + (pid === agentPid ? 0 : stat.childrenMs);
  }
  return sumMs;
}

/** Looks at the host's CPU time now and then, and tells where it went between two looks. */
export class CpuWatch {
  #before: CpuLook | undefined;
  #latest: CpuBreakdown | undefined;

  /** `windowMs`: between two looks, which have to find every process of the host. */
  constructor(
    private readonly proc: ProcReader,
    private readonly agentPid: number,
    private readonly windowMs: number,
  ) {}

  /** Of the last window that has ended; undefined before. */
  read(
    atMs: number,
    host: HostCpu,
    microvms: CpuLook['microvms'],
    vmms: () => ReadonlySet<number>,
  ): CpuBreakdown | undefined {
    if (this.#before && atMs - this.#before.atMs < this.windowMs) return this.#latest;
    const look = { atMs, host, microvms, otherProcessesMs: otherProcessesMs(this.proc, vmms(), this.agentPid) };
    if (this.#before) this.#latest = breakDownCpu(this.#before, look);
    this.#before = look;
    return this.#latest;
  }
}
