import { getSystemErrorMap } from 'node:util';
import { loadNativeBinding, type NativeBinding } from './native-binding';

const MS = 1e6;

/** CPU time that the kernel keeps for one thread: so much of each period, before all threads that have no reservation. */
export interface CpuReservation {
  runtimeMs: number;
  /** 0.1 ms to 4 s. */
  periodMs: number;
}

/**
 * Thrown when the kernel reserves nothing. `code` is `EBUSY` when it has given away all that it gives (sched_rt_runtime_us of
 * sched_rt_period_us, 95 % of all CPUs), `EPERM` without CAP_SYS_NICE or for a thread that may not run on all CPUs, and `ESRCH` for one that
 * has ended. Thrown when it takes nothing back: `EAGAIN` for a thread that sleeps and has nothing left, which is to be asked of it again when its period
 * is over.
 */
export class CpuReservationError extends Error {
  override readonly name = 'CpuReservationError';
  constructor(
    readonly code: string,
    what: string,
  ) {
    super(`${what}: ${code}`);
  }
}

type Calls = Pick<NativeBinding, 'reserveCpu' | 'releaseCpu' | 'readCpuReservation'>;

/**
 * Reserves CPU time for threads of this host, this process's or another's (SCHED_DEADLINE; Linux, Documentation/scheduler/sched-deadline.rst).
 * A thread that has used up what is reserved stands still until the next period: who reserves must look at what is used.
 */
export class CpuReservations {
  constructor(private readonly binding: Calls = loadNativeBinding()) {}

  /** Reserves, or changes what is reserved. @throws CpuReservationError */
  reserve(tid: number, { runtimeMs, periodMs }: CpuReservation): void {
    const [runtimeNs, periodNs] = [Math.round(runtimeMs * MS), Math.round(periodMs * MS)];
    check(this.binding.reserveCpu(tid, runtimeNs, periodNs), `thread ${tid} gets no CPU time reserved`);
  }

  /**
   * Makes it one among the others again; nothing happens to one that has no reservation. `atOnce`: there is no time to ask again; it may be that
   * Linux 6.1 does not run it when it gets its next one. @throws CpuReservationError
   */
  release(tid: number, { atOnce = false }: { atOnce?: boolean } = {}): void {
    check(this.binding.releaseCpu(tid, atOnce), `thread ${tid} keeps its reservation`);
  }

  /** What a thread has; undefined: none. @throws Error with `errno` */
  read(tid: number): CpuReservation | undefined {
    const { runtimeNs, periodNs } = this.binding.readCpuReservation(tid);
    return periodNs === 0 ? undefined : { runtimeMs: runtimeNs / MS, periodMs: periodNs / MS };
  }
}

function check(errno: number, what: string): void {
  if (errno !== 0) throw new CpuReservationError(getSystemErrorMap().get(-errno)?.[0] ?? `errno ${errno}`, what);
}
