import { readFileSync } from 'node:fs';
import type { Logger } from 'pino';
import type { SampleTarget } from '#density';
import { LONGEST_SLICE_MS, threadsOf, ThreadScheduleError, type ThreadSchedule, type ThreadScheduler } from '#microvm';
import type { MicrovmClass } from '#protocol';
import { ownCpus } from '#scheduling';
import type { RunWatcher } from '../microvms/agent-context';

/** As the kernel would have it. */
const ORDINARY: ThreadSchedule = { batch: false, sliceMs: 0 };
/**
 * Of a guaranteed vCPU: due before whoever has longer ones, which it interrupts when it wakes up. Shorter than a tick, since nobody who runs on
 * its CPU while it waits is left alone for longer than the shortest turn there: with 50 ms it was seen to wait 43 ms behind best effort.
 */
const GUARANTEED: ThreadSchedule = { batch: false, sliceMs: 1 };
/** Due last: by its length of turns the kernel decides who goes next when a guaranteed one and several idle groups want the same CPU. */
const BEST_EFFORT: ThreadSchedule = { batch: false, sliceMs: LONGEST_SLICE_MS };

export interface VcpuTurnsParts {
  scheduler: Pick<ThreadScheduler, 'set' | 'bind'>;
  /** CPUs that this agent may use, ascending. */
  cpus: readonly number[];
  classOf: (microvmId: string) => MicrovmClass | undefined;
  log: Pick<Logger, 'warn'>;
}

/**
 * Who runs when several want a CPU, beyond what weights say: weights share CPU time over the long run, but a thread that is chosen keeps
 * its CPU until a tick of the kernel's clock, up to 10 ms, and a vCPU does not move to a CPU that runs best effort, since that one is not
 * idle. So guaranteed vCPUs have a CPU each, as long as there are enough, and are due first there; best effort is due last. Set from outside,
 * thread by thread; VMMs know nothing of it.
 */
export class VcpuTurns implements RunWatcher {
  /** vCPU threads of guaranteed microVMs. */
  readonly #guaranteed = new Map<string, number[]>();
  #vcpus = 0;
  /** By thread, while there is a CPU for each. */
  #own = new Map<number, number>();
  #refused = false;

  constructor(private readonly parts: VcpuTurnsParts) {}

  began({ id, pid, vcpuTids }: Pick<SampleTarget, 'id' | 'pid' | 'vcpuTids'>): void {
    const isGuaranteed = this.parts.classOf(id) === 'guaranteed';
    // All of it: a VMM inherits how its agent is scheduled.
    for (const tid of threadsOf(pid)) this.#set(tid, isGuaranteed ? ORDINARY : BEST_EFFORT);
    if (!isGuaranteed) return;
    this.#guaranteed.set(id, vcpuTids);
    this.#vcpus += vcpuTids.length;
    for (const tid of vcpuTids) {
      this.#set(tid, GUARANTEED);
      // An agent of before may have bound it.
      this.#bind(tid, this.parts.cpus);
    }
    this.#share();
  }

  ended(microvmId: string): void {
    const tids = this.#guaranteed.get(microvmId);
    if (!tids) return;
    this.#guaranteed.delete(microvmId);
    this.#vcpus -= tids.length;
    for (const tid of tids) this.#own.delete(tid);
    this.#share();
  }

  /** Gives out CPUs anew, and tells those for whom something changes. */
  #share(): void {
    const { cpus } = this.parts;
    // There may be thousands, and nothing to give.
    if (this.#vcpus > cpus.length && this.#own.size === 0) return;
    const tids = [...this.#guaranteed.values()].flat();
    const before = this.#own;
    this.#own = ownCpus(tids, cpus, before) ?? new Map<number, number>();
    for (const tid of tids) {
      const cpu = this.#own.get(tid);
      if (cpu === before.get(tid)) continue;
      this.#bind(tid, cpu === undefined ? cpus : [cpu]);
    }
  }

  #bind(tid: number, cpus: readonly number[]): void {
    this.#tell(() => this.parts.scheduler.bind(tid, cpus));
  }

  #set(tid: number, schedule: ThreadSchedule): void {
    this.#tell(() => this.parts.scheduler.set(tid, schedule));
  }

  #tell(order: () => void): void {
    try {
      order();
    } catch (error) {
      if (!(error instanceof ThreadScheduleError)) throw error;
      // A thread may end at any time.
      if (error.code === 'ESRCH' || this.#refused) return;
      this.#refused = true;
      this.parts.log.warn({ reason: error.message }, 'vCPUs have no turns by class; run the agent with CAP_SYS_NICE');
    }
  }
}

/** CPUs that this process may use, ascending: cpusets and affinity of a service count. */
export function ownAffinity(status = readFileSync('/proc/self/status', 'latin1')): number[] {
  const list = /^Cpus_allowed_list:\s*(\S+)/m.exec(status)?.[1] ?? '0';
  return list.split(',').flatMap((range) => {
    const [first = 0, last = first] = range.split('-').map(Number);
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
  });
}
