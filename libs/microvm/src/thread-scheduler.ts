import { readdirSync } from 'node:fs';
import { getSystemErrorMap } from 'node:util';
import { loadNativeBinding, type NativeBinding } from './native-binding';

const MS = 1e6;

/** How the kernel's fair scheduling class treats one thread. Its weight is another matter: that is said by its cgroup. */
export interface ThreadSchedule {
  /** SCHED_BATCH: when it wakes up it interrupts nobody but those that are idle by class, and waits for the end of a turn. Else SCHED_OTHER. */
  batch: boolean;
  /**
   * Length of its turns, 0.1 to 100 ms. Who has short ones is due sooner and may interrupt who has longer ones. 0 when set: the kernel's own
   * length; 0 when read: this kernel knows none (before Linux 6.12), and what was set is forgotten.
   */
  sliceMs: number;
}

/** Thrown when the kernel refuses. `code` is `ESRCH` for a thread that has ended, and `EPERM` for one of another user without CAP_SYS_NICE. */
export class ThreadScheduleError extends Error {
  override readonly name = 'ThreadScheduleError';
  constructor(
    readonly code: string,
    what: string,
  ) {
    super(`${what}: ${code}`);
  }
}

type Calls = Pick<NativeBinding, 'setThreadSchedule' | 'readThreadSchedule' | 'setThreadCpus'>;

/** Sets how threads of this host are scheduled, whether they are this process's or another's. */
export class ThreadScheduler {
  constructor(private readonly binding: Calls = loadNativeBinding()) {}

  /** @throws ThreadScheduleError */
  set(tid: number, { batch, sliceMs }: ThreadSchedule): void {
    check(this.binding.setThreadSchedule(tid, batch, Math.round(sliceMs * MS)), `thread ${tid} keeps its schedule`);
  }

  /** @throws Error with `errno` */
  read(tid: number): ThreadSchedule {
    const { batch, sliceNs } = this.binding.readThreadSchedule(tid);
    return { batch, sliceMs: sliceNs / MS };
  }

  /** Lets it run on these CPUs alone. @throws ThreadScheduleError */
  bind(tid: number, cpus: readonly number[]): void {
    check(this.binding.setThreadCpus(tid, [...cpus]), `thread ${tid} cannot be bound to CPUs ${cpus.join(',')}`);
  }
}

/** The longest turns there are, ms. */
export const LONGEST_SLICE_MS = 100;

/**
 * Puts this process behind those that must not wait: all its threads, those to come, and the processes that it starts. They get what their
 * weight gives them as before, but wait for the end of a turn and take theirs in one. @throws ThreadScheduleError, or what the binding says
 * when it cannot be loaded.
 */
export function stepBack(scheduler = new ThreadScheduler()): void {
  for (const tid of threadsOf('self')) scheduler.set(tid, { batch: true, sliceMs: LONGEST_SLICE_MS });
}

/** Ids of the threads of a process; none when it has ended. */
export function threadsOf(pid: number | 'self'): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).map(Number);
  } catch {
    return [];
  }
}

function check(errno: number, what: string): void {
  if (errno !== 0) throw new ThreadScheduleError(getSystemErrorMap().get(-errno)?.[0] ?? `errno ${errno}`, what);
}
