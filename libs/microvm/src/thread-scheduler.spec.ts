import { execFileSync, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { once } from 'node:events';
import { join } from 'node:path';
import { stepBack, ThreadScheduleError, ThreadScheduler, threadsOf } from './thread-scheduler';

const allowed = (pid: number): string =>
  /^Cpus_allowed_list:\s*(\S+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))![1]!;

describe('schedules of threads', () => {
  const scheduler = new ThreadScheduler();
  /** Linux 6.12 and newer tell the length of turns. */
  const hasSlices = scheduler.read(process.pid).sliceMs > 0;

  it('are what the kernel says they are, and are given back', async () => {
    const child = spawn('sleep', ['60']);
    const ended = once(child, 'exit');
    try {
      await once(child, 'spawn');
      const pid = child.pid!;
      const before = scheduler.read(pid);
      scheduler.set(pid, { batch: true, sliceMs: 70 });
      expect(scheduler.read(pid)).toEqual({ batch: true, sliceMs: hasSlices ? 70 : 0 });
      scheduler.set(pid, { batch: false, sliceMs: 0 });
      expect(scheduler.read(pid)).toEqual({ batch: false, sliceMs: before.sliceMs });
      const cpus = allowed(pid);
      const first = Number(/^\d+/.exec(cpus)![0]);
      scheduler.bind(pid, [first]);
      expect(allowed(pid)).toBe(String(first));
    } finally {
      child.kill('SIGKILL');
      await ended;
    }
  });

  it('of one that is not there are refused, and so are no CPUs at all', () => {
    const none = 2 ** 22 + 1;
    expect(() => scheduler.set(none, { batch: true, sliceMs: 1 })).toThrow(ThreadScheduleError);
    expect(() => scheduler.bind(none, [0])).toThrow(expect.objectContaining({ code: 'ESRCH' }) as Error);
    expect(() => scheduler.bind(process.pid, [])).toThrow(expect.objectContaining({ code: 'EINVAL' }) as Error);
    expect(() => scheduler.bind(process.pid, [4_000_000])).toThrow(
      expect.objectContaining({ code: 'EINVAL' }) as Error,
    );
    expect(threadsOf(none)).toEqual([]);
  });

  it('of a process that steps back hold for all its threads, and for what it starts', () => {
    // A process of its own: what is set stays.
    const script = `
      const { stepBack, ThreadScheduler, threadsOf } = require(${JSON.stringify(join(__dirname, 'thread-scheduler'))});
      stepBack();
      const scheduler = new ThreadScheduler();
      const child = require('node:child_process').spawn('sleep', ['60']);
      child.once('spawn', () => {
        const all = [...threadsOf('self'), child.pid].map((tid) => scheduler.read(tid).batch);
        child.kill('SIGKILL');
        process.stdout.write(JSON.stringify(all));
      });`;
    const register = ['--require', join(__dirname, '../../../test/support/ts-register.cjs')];
    const batch = JSON.parse(
      execFileSync(process.execPath, [...register, '-e', script], { encoding: 'utf8' }),
    ) as boolean[];
    expect(batch.length).toBeGreaterThan(2);
    expect(batch).not.toContain(false);
    expect(typeof stepBack).toBe('function');
  });
});
