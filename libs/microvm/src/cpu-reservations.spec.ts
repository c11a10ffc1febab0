import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { availableParallelism, getPriority, setPriority } from 'node:os';
import { until } from '../../../test/support/fleet';
import { CpuReservationError, CpuReservations, type CpuReservation } from './cpu-reservations';

/** No such thread. */
const NONE = 2 ** 22 + 1;

describe('reservations of CPU time', () => {
  const kernel = new CpuReservations();

  async function withProcess(
    test: (pid: number) => void | Promise<void>,
    [program, ...args]: [string, ...string[]] = ['sleep', '60'],
  ): Promise<void> {
    const child = spawn(program, args);
    const ended = once(child, 'exit');
    try {
      await once(child, 'spawn');
      await test(child.pid!);
    } finally {
      child.kill('SIGKILL');
      await ended;
    }
  }

  /** Whether there is one now. What this machine refuses is said, and not tested. */
  function isReserved(pid: number, reservation: CpuReservation): boolean {
    try {
      kernel.reserve(pid, reservation);
      return true;
    } catch (error) {
      if (!(error instanceof CpuReservationError) || !['EBUSY', 'EPERM'].includes(error.code)) throw error;
      console.warn(`SKIPPED: this machine reserves nothing: ${error.message}`);
      return false;
    }
  }

  it('are what the kernel says they are, and are given back with the weight there was', () =>
    withProcess((pid) => {
      setPriority(pid, 3);
      expect(kernel.read(pid)).toBeUndefined();
      if (!isReserved(pid, { runtimeMs: 500, periodMs: 1_000 })) return;
      expect(kernel.read(pid)).toEqual({ runtimeMs: 500, periodMs: 1_000 });
      kernel.reserve(pid, { runtimeMs: 600, periodMs: 1_200 });
      expect(kernel.read(pid)).toEqual({ runtimeMs: 600, periodMs: 1_200 });
      kernel.release(pid);
      expect(kernel.read(pid)).toBeUndefined();
      expect(getPriority(pid)).toBe(3);
    }));

  it('of threads that sleep can be given back as often as they are made', () =>
    withProcess(async (pid) => {
      const some: CpuReservation = { runtimeMs: 100, periodMs: 1_000 };
      if (!isReserved(pid, some)) return;
      kernel.release(pid);
      // More than there is, were the kernel to keep what is given back. What others on this machine have reserved they give back in time.
      for (let i = 0; i <= 10 * availableParallelism(); i++) {
        await until('there is something to reserve', () => Promise.resolve(kernel.reserve(pid, some)).then(() => true));
        kernel.release(pid);
      }
    }));

  it('of threads that wake up meanwhile can be given back as often as they are made, and they go on running', () =>
    withProcess(
      async (pid) => {
        const most: CpuReservation = { runtimeMs: 20, periodMs: 100 };
        if (!isReserved(pid, most)) return;
        kernel.release(pid);
        for (let i = 0; i < 500; i++) {
          await until('there is something to reserve', () =>
            Promise.resolve(kernel.reserve(pid, most)).then(() => true),
          );
          const goesOnAt = performance.now() + (i % 10) / 10;
          while (performance.now() < goesOnAt);
          // Refused while it sleeps with nothing left.
          await until('it is given back', () => Promise.resolve(kernel.release(pid)).then(() => true));
          expect(kernel.read(pid)).toBeUndefined();
        }
        const ranNs = (): number => Number(readFileSync(`/proc/${pid}/schedstat`, 'latin1').split(' ')[0]);
        const releasedAt = ranNs();
        await until('it runs', () => Promise.resolve(ranNs() > releasedAt + 10e6));
      },
      // Sleeps and computes by turns, for a fraction of a millisecond each.
      ['perl', '-e', 'for (;;) { select(undef, undef, undef, 0.0002); for (my $i = 0; $i < 1000; $i++) {} }'],
    ));

  // Tested on the kernel of Debian 12 by test/emulated/agent-host.spec.ts, too: other kernels forgive more.
  it('can be made anew for a thread that had used up all of one, and it runs', () =>
    withProcess(
      async (pid) => {
        if (!isReserved(pid, { runtimeMs: 5, periodMs: 200 })) return;
        const stands = (): boolean => /^dl\.runtime *: *-/m.test(readFileSync(`/proc/${pid}/sched`, 'latin1'));
        await until('it has used it up', () => Promise.resolve(stands()));
        kernel.release(pid);
        const ranNs = (): number => Number(readFileSync(`/proc/${pid}/schedstat`, 'latin1').split(' ')[0]);
        const releasedAt = ranNs();
        // For longer than it would have had to stand still.
        await until('it has run', () => Promise.resolve(ranNs() > releasedAt + 300e6));
        if (!isReserved(pid, { runtimeMs: 5, periodMs: 200 })) return;
        const reservedAt = ranNs();
        await until('it runs again', () => Promise.resolve(ranNs() > reservedAt + 10e6));
      },
      ['sh', '-c', 'while :; do :; done'],
    ));

  it('that make no sense are refused, and so are those of threads that are not there', () =>
    withProcess((pid) => {
      const refused = (code: string) => expect.objectContaining({ name: 'CpuReservationError', code }) as Error;
      expect(() => kernel.reserve(pid, { runtimeMs: 2_000, periodMs: 1_000 })).toThrow(refused('EINVAL'));
      expect(() => kernel.reserve(pid, { runtimeMs: 0, periodMs: 1_000 })).toThrow(refused('EINVAL'));
      expect(kernel.read(pid)).toBeUndefined();
      expect(() => kernel.reserve(NONE, { runtimeMs: 1, periodMs: 1_000 })).toThrow(refused('ESRCH'));
      expect(() => kernel.release(NONE)).toThrow(refused('ESRCH'));
      expect(() => kernel.read(NONE)).toThrow('No such process');
    }));
});
