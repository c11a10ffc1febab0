import { readFileSync } from 'node:fs';
import type { Logger } from 'pino';
import { parseProcessStat, parseSchedstat, type SampleTarget } from '#density';
import { CpuReservationError, type CpuReservation, type CpuReservations } from '#microvm';
import { classOf, type DensityReport, type MicrovmSpec } from '#protocol';
import { ReservationPlan } from '#scheduling';
import type { RunWatcher } from '../microvms/agent-context';

/** Of a reservation; a burst of as much as is reserved is not interrupted. Use is measured over as long. */
const PERIOD_MS = 1_000;
/** How often it is looked at who is to have one ({@link ReservationPlan}). */
const LOOK_MS = PERIOD_MS / 10;
/** An agent that looks later than this cannot keep a vCPU from using up what it has, and standing still: then nobody has any. */
const LATE_MS = 400;
/** It is said no more often than this that it was. */
const LATE_TOLD_MS = 30_000;
/**
 * Who has a reservation and waits for a CPU gets one within the time of all other reservations, which is half of a period at most. Who does not has been
 * forgotten by the kernel.
 */
const FORGOTTEN_MS = PERIOD_MS / 2 + LOOK_MS;
/** Whom the kernel has forgotten gets no reservation for so long. */
const NONE_FOR_MS = 60_000;
/** When the kernel gave nothing it is asked again after this. */
const REFUSED_MS = 30_000;

/** One vCPU thread. */
interface Vcpu {
  microvmId: string;
  pid: number;
  tid: number;
  /** What it had run by when: a period, and the look before. */
  looks: { atMs: number; runNs: number }[];
  /** Part of a CPU that the kernel keeps for it; 0: none. */
  share: number;
  /** Since when it has a reservation, waits for a CPU and has not run. */
  waitsSinceMs: number | undefined;
  /** It gets none before. */
  noneUntilMs: number;
}

export interface VcpuReservationsParts {
  kernel: CpuReservations;
  /** Logical CPUs that are lent to microVMs. */
  cpus: number;
  /** {@link mayReserve} by id. */
  mayReserve: (microvmId: string) => boolean;
  /** Steady clock, ms. */
  nowMs: () => number;
  log: Pick<Logger, 'info' | 'warn'>;
  /** ns that a thread has run; undefined: it has ended. */
  runNsOf?: (pid: number, tid: number) => number | undefined;
  /** Whether a thread runs or waits for a CPU. */
  isRunnable?: (pid: number, tid: number) => boolean;
}

/**
 * Has the kernel keep CPU time for guaranteed vCPUs that need it seldom ({@link ReservationPlan}), so that they run at once when they wake up and
 * are not interrupted. Weights share CPU time over the long run, but say nothing of who waits for how long: who was chosen keeps
 * its CPU until a tick, and who runs is interrupted for one as soon as anybody else is due. Set from outside, thread by thread; VMMs know nothing of it.
 */
export class VcpuReservations implements RunWatcher {
  readonly #plan: ReservationPlan<Vcpu>;
  readonly #vcpus = new Map<string, Vcpu[]>();
  readonly #runNsOf: NonNullable<VcpuReservationsParts['runNsOf']>;
  readonly #isRunnable: NonNullable<VcpuReservationsParts['isRunnable']>;
  #timer: NodeJS.Timeout | undefined;
  #lookedAtMs = Number.NaN;
  #lateToldAtMs = -Infinity;
  /** Why the kernel gave nothing when it was asked last, and when that was. */
  #refused: { code: string; atMs: number } | undefined;

  constructor(private readonly parts: VcpuReservationsParts) {
    this.#plan = new ReservationPlan(parts.cpus);
    this.#runNsOf = parts.runNsOf ?? runNsOf;
    this.#isRunnable = parts.isRunnable ?? isRunnable;
  }

  start(): void {
    this.#timer = setInterval(() => this.look(), LOOK_MS);
    this.#timer.unref();
  }

  /** Gives everything back: with nobody who looks, who computes would stand still each time it has used up what it has. */
  stop(): void {
    clearInterval(this.#timer);
    for (const vcpu of this.#reserved()) this.#release(vcpu, { atOnce: true });
  }

  /** What the host's report says. */
  report(): NonNullable<DensityReport['cpuReservations']> {
    const vcpus = this.#reserved();
    const cpus = vcpus.reduce((sum, { share }) => sum + share, 0);
    return { vcpus: vcpus.length, cpus, ...(this.#refused ? { refused: this.#refused.code } : {}) };
  }

  began({ id, pid, vcpuTids }: Pick<SampleTarget, 'id' | 'pid' | 'vcpuTids'>): void {
    this.ended(id);
    if (!this.parts.mayReserve(id)) return;
    const vcpus = vcpuTids.map((tid) => ({
      microvmId: id,
      pid,
      tid,
      looks: [],
      share: 0,
      waitsSinceMs: undefined,
      noneUntilMs: 0,
    }));
    this.#vcpus.set(id, vcpus);
    for (const vcpu of vcpus) {
      // An agent that was killed may have left it one, of a size that nobody here decided.
      this.#release(vcpu, { atOnce: true });
      this.#plan.add(vcpu);
    }
  }

  ended(microvmId: string): void {
    for (const vcpu of this.#vcpus.get(microvmId) ?? []) this.#plan.remove(vcpu);
    this.#vcpus.delete(microvmId);
  }

  /** Measures, decides, and tells the kernel what has changed. */
  look(): void {
    const nowMs = this.parts.nowMs();
    if (nowMs - this.#lookedAtMs > LATE_MS) this.#late(nowMs);
    this.#lookedAtMs = nowMs;
    const used = new Map<Vcpu, number>();
    for (const vcpu of this.#plan.watched) {
      const use = this.#measure(vcpu);
      const mayReserve = nowMs >= vcpu.noneUntilMs && this.parts.mayReserve(vcpu.microvmId);
      if (use !== undefined) used.set(vcpu, mayReserve ? use : Infinity);
    }
    for (const vcpu of this.#reserved()) if (this.#isForgotten(vcpu, nowMs)) this.#giveUp(vcpu, nowMs);
    const reserved = this.#plan.look(used);
    const { share } = this.#plan;
    // What is given back may be what others get.
    for (const vcpu of this.#reserved()) if (!reserved.has(vcpu)) this.#release(vcpu);
    const isAskedAgain = !this.#refused || nowMs - this.#refused.atMs >= REFUSED_MS;
    for (const vcpu of reserved) {
      if (vcpu.share !== share && isAskedAgain) this.#reserve(vcpu, share);
    }
  }

  #late(nowMs: number): void {
    this.#plan.forget();
    if (this.#plan.share === 0 || nowMs - this.#lateToldAtMs < LATE_TOLD_MS) return;
    this.#lateToldAtMs = nowMs;
    const lateMs = Math.round(nowMs - this.#lookedAtMs);
    this.parts.log.info(
      { lateMs },
      'too late to look at what guaranteed vCPUs use: none has CPU time reserved for some seconds',
    );
  }

  /** Those that have a reservation: nobody has who is not watched. */
  #reserved(): Vcpu[] {
    return this.#plan.watched.filter(({ share }) => share > 0);
  }

  /** Whether it has stood still for too long: what it used last tells that it was not because of what it has used. */
  #isForgotten(vcpu: Vcpu, nowMs: number): boolean {
    const [before, now] = vcpu.looks.slice(-2);
    const hasRun = before === undefined || now === undefined || before.runNs !== now.runNs;
    if (hasRun || !this.#isRunnable(vcpu.pid, vcpu.tid)) vcpu.waitsSinceMs = undefined;
    else vcpu.waitsSinceMs ??= before.atMs;
    return vcpu.waitsSinceMs !== undefined && nowMs - vcpu.waitsSinceMs > FORGOTTEN_MS;
  }

  /** Without a reservation every thread runs. */
  #giveUp(vcpu: Vcpu, nowMs: number): void {
    this.#release(vcpu);
    this.#plan.add(vcpu);
    vcpu.noneUntilMs = nowMs + NONE_FOR_MS;
    this.parts.log.warn(
      { microvmId: vcpu.microvmId, tid: vcpu.tid },
      'a vCPU with a reservation was not run by this kernel: it has none for a minute, and lives by its weight',
    );
  }

  /** The part of a CPU that it used in the last period; undefined: it is not known for so long. */
  #measure({ pid, tid, looks }: Vcpu): number | undefined {
    const runNs = this.#runNsOf(pid, tid);
    if (runNs === undefined) return undefined;
    const atMs = this.parts.nowMs();
    looks.push({ atMs, runNs });
    while (looks.length > 1 && atMs - looks[1]!.atMs >= PERIOD_MS) looks.shift();
    const since = looks[0]!;
    const ms = atMs - since.atMs;
    return ms < PERIOD_MS ? undefined : (runNs - since.runNs) / 1e6 / ms;
  }

  #reserve(vcpu: Vcpu, share: number): void {
    const reservation: CpuReservation = { runtimeMs: share * PERIOD_MS, periodMs: PERIOD_MS };
    const error = refusalOf(() => this.parts.kernel.reserve(vcpu.tid, reservation));
    if (!error) {
      vcpu.share = share;
      if (this.#refused) this.parts.log.info('CPU time is reserved for guaranteed vCPUs again');
      this.#refused = undefined;
    } else if (error.code !== 'ESRCH') {
      if (this.#refused?.code !== error.code)
        this.parts.log.warn({ reason: error.message }, WHY[error.code] ?? UNKNOWN);
      this.#refused = { code: error.code, atMs: this.parts.nowMs() };
    }
  }

  /** What cannot be taken back yet is by the next look. */
  #release(vcpu: Vcpu, how?: { atOnce: true }): void {
    vcpu.waitsSinceMs = undefined;
    const error = refusalOf(() => this.parts.kernel.release(vcpu.tid, how));
    if (error?.code === 'EAGAIN') return;
    if (error && error.code !== 'ESRCH')
      this.parts.log.warn({ reason: error.message, microvmId: vcpu.microvmId }, 'a vCPU keeps a reservation');
    else vcpu.share = 0;
  }
}

/** Those that are guaranteed, but for those with a limit of CPU, which would not hold for what is reserved. */
export function mayReserve(spec: MicrovmSpec | undefined): boolean {
  return spec !== undefined && classOf(spec) === 'guaranteed' && spec.limits?.cpuPercent === undefined;
}

const UNKNOWN = 'guaranteed vCPUs have no CPU time reserved, and live by their weights';
const WHY: Record<string, string> = {
  EBUSY: `${UNKNOWN}: this kernel has given away what it gives (kernel.sched_rt_runtime_us); is asked again`,
  EPERM: `${UNKNOWN}: run the agent with CAP_SYS_NICE, and on all CPUs of the host`,
};

function refusalOf(order: () => void): CpuReservationError | undefined {
  try {
    order();
    return undefined;
  } catch (error) {
    if (error instanceof CpuReservationError) return error;
    throw error;
  }
}

function runNsOf(pid: number, tid: number): number | undefined {
  try {
    return parseSchedstat(readFileSync(`/proc/${pid}/task/${tid}/schedstat`, 'latin1'))?.runNs;
  } catch {
    return undefined; // it has ended
  }
}

function isRunnable(pid: number, tid: number): boolean {
  try {
    return parseProcessStat(readFileSync(`/proc/${pid}/task/${tid}/stat`, 'latin1'))?.state === 'R';
  } catch {
    return false; // it has ended
  }
}
