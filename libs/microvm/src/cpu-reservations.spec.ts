import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { availableParallelism, getPriority, setPriority } from 'node:os';
import { until } from '../../../test/support/fleet';
import { CpuReservationError, CpuReservations, type CpuReservation } from './cpu-reservations';

/** No such thread. */
const NONE = 2 ** 22 + 1;

describe('reservations of CPU time', () => {
  const kernel = new CpuReservations();

  async function withProcess(test: (pid: number) => void | Promise<void>): Promise<void> {
    const child = spawn('sleep', ['60']);
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
