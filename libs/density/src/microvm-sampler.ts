import type { MicrovmSample } from '#protocol';
import { coresUsed, waitPercent } from './formulas';
import { parseProcessStat, parseSchedstat, parseSmaps, type ThreadSchedule } from './proc-files';
import type { ProcReader } from './proc-reader';

/** One VMM process to measure. */
export interface SampleTarget {
  id: string;
  epoch: number;
  pid: number;
  /** Start time of the process; a process of another start time has only inherited the number. */
  startTicks: string;
  guestMemoryAddress: bigint;
  guestMemoryBytes: number;
  vcpuTids: number[];
}

interface Tracked {
  target: SampleTarget;
  /** The reading before, to take differences from. */
  atMs: number;
  cpuMs: number;
  schedule: ThreadSchedule;
  sample?: MicrovmSample;
}

export interface SamplerOptions {
  /** A microVM is measured again no sooner than this, ms. */
  intervalMs: number;
  /** One round takes no longer than this, ms; whoever had no turn is first in the next round. */
  budgetMs: number;
  /** Monotonic clock, ms. */
  nowMs: () => number;
}

/**
 * Measures VMM processes in turn, bounded per round: reading the page tables of thousands of processes every second would
 * cost more than what it measures. Those never measured come first, then those measured longest ago. Blocking; give it a
 * thread of its own.
 */
export class MicrovmSampler {
  readonly #fresh = new Map<string, SampleTarget>();
  /** In the order of the last reading, oldest first. */
  readonly #known = new Map<string, Tracked>();

  constructor(
    private readonly proc: ProcReader,
    private readonly options: SamplerOptions,
  ) {}

  /** Measures this incarnation from now on, instead of another one of the same microVM. */
  track(target: SampleTarget): void {
    this.forget(target.id);
    this.#fresh.set(target.id, target);
  }

  forget(id: string): void {
    this.#fresh.delete(id);
    this.#known.delete(id);
  }

  /** Runs one round and returns what it measured. CPU and wait of a first reading cover the whole life of the process. */
  round(): MicrovmSample[] {
    const { intervalMs, budgetMs, nowMs } = this.options;
    const begin = nowMs();
    const samples: MicrovmSample[] = [];
    const within = (): boolean => samples.length === 0 || nowMs() - begin < budgetMs;
    for (const [id, target] of this.#fresh) {
      if (!within()) return samples;
      this.#fresh.delete(id);
      const sample = this.#measure(target, undefined);
      if (sample) samples.push(sample);
    }
    for (const [id, tracked] of this.#known) {
      if (!within() || tracked.atMs + intervalMs > begin) return samples;
      this.#known.delete(id);
      const sample = this.#measure(tracked.target, tracked);
      if (sample) samples.push(sample);
    }
    return samples;
  }

  /** The latest sample of everything tracked, for sums over the host. */
  latest(): MicrovmSample[] {
    const samples: MicrovmSample[] = [];
    for (const { sample } of this.#known.values()) if (sample) samples.push(sample);
    return samples;
  }

  /** Reads one process and puts it at the end of the order. A process that is gone is forgotten. */
  #measure(target: SampleTarget, before: Tracked | undefined): MicrovmSample | undefined {
    const statText = this.proc.read(`/proc/${target.pid}/stat`);
    const stat = statText === undefined ? undefined : parseProcessStat(statText);
    if (!stat || stat.startTicks !== target.startTicks || stat.state === 'Z' || stat.state === 'X') return undefined;
    const smaps = this.proc.read(`/proc/${target.pid}/smaps`);
    if (smaps === undefined) return undefined;
    const atMs = this.options.nowMs();
    const memory = parseSmaps(smaps, target.guestMemoryAddress, target.guestMemoryBytes);
    const schedule = this.#schedule(target);
    const elapsedMs = before ? atMs - before.atMs : this.#ageMs(stat.startTicks);
    const sample: MicrovmSample = {
      id: target.id,
      epoch: target.epoch,
      proportionalKiB: memory.proportionalKiB,
      privateKiB: memory.privateKiB,
      overheadKiB: memory.privateKiB - memory.guestPrivateKiB,
      cpuCores: coresUsed(stat.cpuMs - (before?.cpuMs ?? 0), elapsedMs),
      vcpuWaitPercent: waitPercent(
        schedule.runNs - (before?.schedule.runNs ?? 0),
        schedule.delayNs - (before?.schedule.delayNs ?? 0),
      ),
    };
    this.#known.set(target.id, { target, atMs, cpuMs: stat.cpuMs, schedule, sample });
    return sample;
  }

  #schedule(target: SampleTarget): ThreadSchedule {
    const sum: ThreadSchedule = { runNs: 0, delayNs: 0 };
    for (const tid of target.vcpuTids) {
      const text = this.proc.read(`/proc/${target.pid}/task/${tid}/schedstat`);
      const one = text === undefined ? undefined : parseSchedstat(text);
      if (!one) continue;
      sum.runNs += one.runNs;
      sum.delayNs += one.delayNs;
    }
    return sum;
  }

  /** Age of a process by the time since boot, ms; 0 where that is not readable. */
  #ageMs(startTicks: string): number {
    const uptime = this.proc.read('/proc/uptime');
    if (uptime === undefined) return 0;
    return Math.max(0, Number(uptime.split(' ')[0]) * 1000 - Number(startTicks) * 10);
  }
}
