import type { HistogramCounts } from '#protocol';
import { readThrottling, type ControlGroup } from './control-group';
import { coresUsed, waitPercent } from './formulas';
import { Histogram, WAIT_BOUNDS } from './histogram';
import type { MicrovmReading } from './microvm-reading';
import {
  parseProcessStat,
  parseSchedstat,
  parseSmaps,
  parseStatus,
  type CountedMemory,
  type ProcessMemory,
  type ThreadSchedule,
} from './proc-files';
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
  tenant?: string;
  /** Its cgroups. */
  group?: ControlGroup;
}

/** What the page tables told when they were last walked. */
interface Walk {
  atMs: number;
  tookMs: number;
  memory: ProcessMemory;
}

interface Tracked {
  target: SampleTarget;
  walk: Walk;
  reading: MicrovmReading;
}

export interface SamplerOptions {
  /** A microVM is measured again no sooner than this, ms. */
  intervalMs: number;
  /** One round takes no longer than this, ms; whoever had no turn is first in the next round. */
  budgetMs: number;
  /** Monotonic clock, ms. */
  nowMs: () => number;
}

/** Time that one microVM may take of the sampler's thread, ms per second: 0.8 % of a core per 1,000 microVMs. */
const SHARE_MS_PER_SECOND = 0.008;
/** A round may take this long however few there are, ms. */
const LEAST_BUDGET_MS = 1;
/** The part of a round's time in which page tables may be walked again. */
const WALK_SHARE = 0.4;
/** Page tables are walked again no sooner than this, ms, and so many times later than a walk of them takes. */
const WALK_INTERVAL_MS = 30_000;
const WALK_PAUSE = 5_000;

/** CPU time since the sampler began, of microVMs that have ended as well: counters. */
export interface CpuTime {
  /** Of the VMM processes, and the part of it in which guest code ran, ms. */
  cpuMs: number;
  guestMs: number;
  /** What vCPU threads ran, and waited for a CPU, ns. */
  runNs: number;
  delayNs: number;
  /** Of what each measurement of a microVM found as its share of waiting. */
  waitRatio: HistogramCounts;
}

/**
 * Measures VMM processes in turn, bounded per round: walking the page tables of thousands of processes every second would cost
 * more than what it measures. What the kernel keeps count of is read often, and page tables are walked now and then, to tell
 * guest pages from others and shared from private. Those never measured come first, then those measured longest ago. Blocking;
 * give it a thread of its own.
 */
export class MicrovmSampler {
  readonly #fresh = new Map<string, SampleTarget>();
  /** In the order of the last reading, oldest first. */
  readonly #known = new Map<string, Tracked>();
  readonly #spent = { cpuMs: 0, guestMs: 0, runNs: 0, delayNs: 0 };
  readonly #waits = new Histogram(WAIT_BOUNDS);
  readonly #beganMs: number;
  #lastRoundMs: number;
  /** Time in which page tables may be walked, ms; below zero after a walk that took longer than there was. */
  #walkCreditMs = 0;

  constructor(
    private readonly proc: ProcReader,
    private readonly options: SamplerOptions,
  ) {
    this.#beganMs = this.#lastRoundMs = options.nowMs();
  }

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
  round(): MicrovmReading[] {
    const { intervalMs, nowMs } = this.options;
    const begin = nowMs();
    const budgetMs = this.#budget(begin);
    this.#walkCreditMs = Math.min(this.#walkCreditMs + WALK_SHARE * budgetMs, WALK_SHARE * this.options.budgetMs);
    const readings: MicrovmReading[] = [];
    const within = (): boolean => readings.length === 0 || nowMs() - begin < budgetMs;
    for (const [id, target] of this.#fresh) {
      if (!within()) return readings;
      this.#fresh.delete(id);
      const reading = this.#measure(target, undefined);
      if (reading) readings.push(reading);
    }
    for (const [id, tracked] of this.#known) {
      if (!within() || tracked.reading.atMs + intervalMs > begin) return readings;
      this.#known.delete(id);
      const reading = this.#measure(tracked.target, tracked);
      if (reading) readings.push(reading);
    }
    return readings;
  }

  /** VMM processes that were there when they were last measured. */
  pids(): Set<number> {
    return new Set([...this.#known.values()].map(({ target }) => target.pid));
  }

  cpuTime(): CpuTime {
    return { ...this.#spent, waitRatio: this.#waits.read() };
  }

  /** Newcomers get the whole budget, the rest its share of a core: nobody waits long to be counted, and all the time it is cheap. */
  #budget(now: number): number {
    const { budgetMs } = this.options;
    const elapsedMs = Math.min(10_000, now - this.#lastRoundMs);
    this.#lastRoundMs = now;
    if (this.#fresh.size > 0) return budgetMs;
    const share = (this.#known.size * SHARE_MS_PER_SECOND * elapsedMs) / 1_000;
    return Math.min(budgetMs, Math.max(LEAST_BUDGET_MS, share));
  }

  /** Reads one process and puts it at the end of the order. A process that is gone is forgotten. */
  #measure(target: SampleTarget, before: Tracked | undefined): MicrovmReading | undefined {
    const statText = this.proc.read(`/proc/${target.pid}/stat`);
    const stat = statText === undefined ? undefined : parseProcessStat(statText);
    if (!stat || stat.startTicks !== target.startTicks || stat.state === 'Z' || stat.state === 'X') return undefined;
    const statusText = this.proc.read(`/proc/${target.pid}/status`);
    const counted = statusText === undefined ? undefined : parseStatus(statusText);
    if (!counted) return undefined;
    const { runNs, delayNs } = this.#schedule(target);
    const atMs = this.options.nowMs();
    const walk = this.#walk(target, before?.walk);
    if (!walk) return undefined;

    const last = before?.reading;
    const ageMs = last ? 0 : this.#ageMs(stat.startTicks);
    const elapsedMs = last ? atMs - last.atMs : ageMs;
    const wait = waitPercent(runNs - (last?.runNs ?? 0), delayNs - (last?.delayNs ?? 0));
    const throttling =
      walk === before?.walk ? last?.throttling : target.group && readThrottling(this.proc, target.group);
    const reading: MicrovmReading = {
      id: target.id,
      epoch: target.epoch,
      atMs,
      ...sizesOf(walk, counted),
      ...{ cpuMs: stat.cpuMs, guestMs: stat.guestMs, runNs, delayNs },
      cpuCores: coresUsed(stat.cpuMs - (last?.cpuMs ?? 0), elapsedMs),
      guestCores: coresUsed(stat.guestMs - (last?.guestMs ?? 0), elapsedMs),
      vcpuWaitPercent: wait,
      ...(throttling ? { throttling } : {}),
    };
    // What one that was adopted did before this sampler began is in nobody's counters any more.
    if (last || ageMs <= atMs - this.#beganMs) this.#count(reading, last);
    this.#known.set(target.id, { target, walk, reading });
    return reading;
  }

  #count(reading: MicrovmReading, last: MicrovmReading | undefined): void {
    const since = (field: 'cpuMs' | 'guestMs' | 'runNs' | 'delayNs'): number => {
      const grown = reading[field] - (last?.[field] ?? 0);
      this.#spent[field] += grown;
      return grown;
    };
    since('cpuMs');
    since('guestMs');
    const ran = since('runNs');
    const waited = since('delayNs');
    if (ran + waited > 0) this.#waits.observe(waited / (ran + waited));
  }

  #walk(target: SampleTarget, before: Walk | undefined): Walk | undefined {
    const { nowMs } = this.options;
    const atMs = nowMs();
    if (before) {
      const isDue = atMs - before.atMs >= Math.max(WALK_INTERVAL_MS, before.tookMs * WALK_PAUSE);
      if (!isDue || this.#walkCreditMs <= 0) return before;
    }
    const smaps = this.proc.read(`/proc/${target.pid}/smaps`);
    if (smaps === undefined) return before;
    const memory = parseSmaps(smaps, target.guestMemoryAddress, target.guestMemoryBytes);
    const tookMs = nowMs() - atMs;
    if (before) this.#walkCreditMs -= tookMs;
    return { atMs, tookMs, memory };
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

/** Sizes now: those of the walk, and what the kernel has counted since. It is guest memory that grows and shrinks. */
function sizesOf(walk: Walk, counted: CountedMemory) {
  const { memory } = walk;
  const grownKiB = counted.anonymousKiB - memory.anonymousKiB;
  const guestKiB = Math.max(0, memory.guestAnonymousKiB + grownKiB);
  return {
    walkedAtMs: walk.atMs,
    residentKiB: counted.anonymousKiB + counted.fileKiB + counted.shmemKiB,
    proportionalKiB: Math.max(0, memory.proportionalKiB + grownKiB),
    privateKiB: Math.max(0, memory.privateKiB + grownKiB),
    overheadKiB: memory.privateKiB - memory.guestPrivateKiB,
    guestKiB,
    sharedKiB: memory.guestResidentKiB - memory.guestPrivateKiB,
    sharedProportionalKiB: Math.max(0, memory.guestProportionalKiB - memory.guestAnonymousKiB),
    sharedShmemKiB: Math.max(0, memory.guestShmemKiB),
    vmmKiB: memory.anonymousKiB - memory.guestAnonymousKiB,
    pageFileKiB: memory.vmmShmemKiB,
    swapKiB: memory.swapKiB,
    pageTablesKiB: counted.pageTablesKiB,
    threads: counted.threads,
  };
}
