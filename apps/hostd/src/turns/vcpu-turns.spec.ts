import { ThreadScheduleError, type ThreadSchedule } from '#microvm';
import type { MicrovmClass } from '#protocol';
import { ownAffinity, VcpuTurns } from './vcpu-turns';

/** No such process: what it does to the other threads of a VMM is shown with real ones. */
const NO_PID = 2 ** 22;

function host(cpus: number[], refusal?: string) {
  const schedules = new Map<number, ThreadSchedule>();
  const bound = new Map<number, readonly number[]>();
  const classes = new Map<string, MicrovmClass>();
  const warnings: unknown[] = [];
  const refuse = (tid: number): void => {
    if (refusal !== undefined) throw new ThreadScheduleError(refusal, `thread ${tid}`);
  };
  const turns = new VcpuTurns({
    scheduler: {
      set: (tid, schedule) => (refuse(tid), void schedules.set(tid, schedule)),
      bind: (tid, to) => (refuse(tid), void bound.set(tid, to)),
    },
    cpus,
    classOf: (id) => classes.get(id),
    log: { warn: (...words: unknown[]) => warnings.push(words) },
  });
  const began = (id: string, of: MicrovmClass, ...vcpuTids: number[]): void => {
    classes.set(id, of);
    turns.began({ id, pid: NO_PID, vcpuTids });
  };
  return { turns, began, schedules, bound, warnings };
}

describe('turns of vCPUs', () => {
  it('given a CPU for each guaranteed vCPU, then it has that alone, and a turn shorter than a tick', () => {
    const { began, schedules, bound } = host([0, 1, 2]);
    began('a', 'guaranteed', 11, 12);
    expect([bound.get(11), bound.get(12)]).toEqual([[2], [1]]);
    expect(schedules.get(11)).toEqual({ batch: false, sliceMs: 1 });
  });

  it('given one more than there are CPUs, then all are for the kernel to place, and when it has left each has one again', () => {
    const { turns, began, bound } = host([0, 1]);
    began('a', 'guaranteed', 11);
    began('b', 'guaranteed', 12);
    began('c', 'guaranteed', 13);
    for (const tid of [11, 12, 13]) expect(bound.get(tid)).toEqual([0, 1]);
    turns.ended('a');
    expect([bound.get(12), bound.get(13)]).toEqual([[1], [0]]);
  });

  it('given best effort, then it takes no CPU from anybody', () => {
    const { turns, began, bound } = host([0]);
    began('a', 'bestEffort', 11);
    began('b', 'guaranteed', 12);
    turns.ended('a');
    expect([bound.get(11), bound.get(12)]).toEqual([undefined, [0]]);
  });

  it('given threads that have ended, then that is no news; given an agent without the right, then it is said once', () => {
    const ended = host([0, 1], 'ESRCH');
    ended.began('a', 'guaranteed', 11);
    expect(ended.warnings).toEqual([]);
    const denied = host([0, 1], 'EPERM');
    denied.began('a', 'guaranteed', 11);
    denied.began('b', 'guaranteed', 12);
    expect(denied.warnings).toHaveLength(1);
  });

  it('reads which CPUs this agent has', () => {
    expect(ownAffinity('Name:\tx\nCpus_allowed_list:\t0-2,8,10-11\n')).toEqual([0, 1, 2, 8, 10, 11]);
    expect(ownAffinity().length).toBeGreaterThan(0);
  });
});
