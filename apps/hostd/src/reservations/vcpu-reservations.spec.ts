import { CpuReservationError, type CpuReservation, type CpuReservations } from '#microvm';
import { mayReserve, VcpuReservations } from './vcpu-reservations';

function host(cpus = 2) {
  let nowMs = 0;
  const given = new Map<number, CpuReservation>();
  const ran = new Map<number, number>();
  const limited = new Set<string>();
  /** Threads that would run if they were let. */
  const runnable = new Set<number>();
  const lines: string[] = [];
  const state = { refusal: undefined as string | undefined };
  /** Threads that sleep and have nothing left. */
  const usedUp = new Set<number>();
  const kernel = {
    reserve: (tid: number, reservation: CpuReservation) => {
      if (state.refusal !== undefined) throw new CpuReservationError(state.refusal, `thread ${tid}`);
      given.set(tid, reservation);
    },
    release: (tid: number, how?: { atOnce: boolean }) => {
      if (usedUp.has(tid) && !how?.atOnce) throw new CpuReservationError('EAGAIN', `thread ${tid}`);
      given.delete(tid);
    },
    read: (tid: number) => given.get(tid),
  };
  const line = (_: unknown, text?: string): void => void lines.push(text ?? String(_));
  const reservations = new VcpuReservations({
    kernel: kernel as unknown as CpuReservations,
    cpus,
    mayReserve: (id) => !limited.has(id),
    nowMs: () => nowMs,
    log: { info: line, warn: line } as never,
    runNsOf: (_pid, tid) => ran.get(tid),
    isRunnable: (_pid, tid) => runnable.has(tid),
  });
  const began = (id: string, ...vcpuTids: number[]): void => {
    for (const tid of vcpuTids) ran.set(tid, 0);
    reservations.began({ id, pid: 1, vcpuTids });
  };
  /** Seconds with ten looks each, in which each thread runs for so many ms. */
  const seconds = (count: number, ms: (tid: number) => number): void => {
    for (let i = 0; i < 10 * count; i++) {
      nowMs += 100;
      for (const [tid, ns] of ran) ran.set(tid, ns + ms(tid) * 1e5);
      reservations.look();
    }
  };
  const stall = (ms: number): void => void (nowMs += ms);
  return { reservations, began, seconds, stall, given, limited, runnable, usedUp, lines, state, ran };
}

describe('reservations of vCPUs', () => {
  it('given vCPUs that need little, then the kernel keeps time for them, and the report says so', () => {
    const { began, seconds, given, reservations } = host();
    began('a', 11);
    began('b', 12);
    seconds(5, (tid) => (tid === 11 ? 50 : 990));
    expect([...given]).toEqual([[11, { runtimeMs: 500, periodMs: 1_000 }]]);
    expect(reservations.report()).toEqual({ vcpus: 1, cpus: 0.5 });
  });

  it('given one that takes more, then it goes back to its weight', () => {
    const { began, seconds, given } = host();
    began('a', 11);
    seconds(5, () => 50);
    // Before it has used up its 500 ms.
    seconds(0.3, () => 1_000);
    expect(given.size).toBe(1);
    seconds(0.1, () => 1_000);
    expect(given.size).toBe(0);
  });

  it('given one whose reservation cannot be taken back yet, then it is asked again, and at once when the agent stops', () => {
    const { began, seconds, given, usedUp, lines, reservations } = host();
    began('a', 11);
    seconds(5, () => 50);
    usedUp.add(11);
    seconds(2, () => 700);
    expect(reservations.report()).toMatchObject({ vcpus: 1 });
    expect(given.size).toBe(1);
    usedUp.clear();
    seconds(1, () => 700);
    expect(reservations.report()).toEqual({ vcpus: 0, cpus: 0 });
    expect(given.size).toBe(0);
    seconds(60, () => 50);
    expect(given.size).toBe(1);
    usedUp.add(11);
    reservations.stop();
    expect(given.size).toBe(0);
    expect(lines).toEqual([]);
  });

  it('given more vCPUs, then what is reserved is shared anew, and what those had who left is given to others', () => {
    const { began, seconds, given, reservations } = host();
    began('a', 11, 12);
    seconds(5, () => 10);
    expect(given.get(11)!.runtimeMs).toBe(500);
    began('b', 13, 14);
    seconds(5, () => 10);
    expect([...given.values()].map(({ runtimeMs }) => runtimeMs)).toEqual([250, 250, 250, 250]);
    reservations.ended('a');
    seconds(1, () => 10);
    expect([given.get(13)!.runtimeMs, reservations.report()]).toEqual([500, { vcpus: 2, cpus: 1 }]);
  });

  it('given an agent that comes too late to look, then nobody has any until it is on time again', () => {
    const { began, seconds, given, stall, lines } = host();
    began('a', 11);
    seconds(5, () => 10);
    for (let i = 0; i < 2; i++) {
      stall(500);
      seconds(0.1, () => 10);
    }
    expect(given.size).toBe(0);
    expect(lines).toEqual([expect.stringContaining('too late to look')]);
    seconds(5, () => 10);
    expect(given.size).toBe(1);
  });

  it('given a limit of CPU, also one that is set later, then there is none', () => {
    const { began, seconds, given, limited } = host();
    limited.add('a');
    began('a', 11);
    began('b', 12);
    seconds(5, () => 10);
    expect([...given.keys()]).toEqual([12]);
    limited.add('b');
    seconds(1, () => 10);
    expect(given.size).toBe(0);
    const spec = { class: 'guaranteed' } as Parameters<typeof mayReserve>[0];
    expect(mayReserve(spec)).toBe(true);
    expect(mayReserve({ ...spec!, limits: { cpuPercent: 50 } } as typeof spec)).toBe(false);
    expect(mayReserve({ ...spec!, class: 'bestEffort' })).toBe(false);
    expect(mayReserve(undefined)).toBe(false);
  });

  it('given a kernel that gives nothing, then that is said once, asked again half a minute later, and said when it is over', () => {
    const { began, seconds, given, lines, state, reservations } = host();
    state.refusal = 'EBUSY';
    began('a', 11);
    seconds(20, () => 10);
    expect(lines).toEqual([expect.stringContaining('given away what it gives')]);
    expect(reservations.report()).toEqual({ vcpus: 0, cpus: 0, refused: 'EBUSY' });
    state.refusal = undefined;
    seconds(10, () => 10);
    expect(given.size).toBe(0);
    seconds(5, () => 10);
    expect(given.size).toBe(1);
    expect(lines[1]).toContain('again');
    expect(reservations.report()).toEqual({ vcpus: 1, cpus: 0.5 });
  });

  it('given one that the kernel does not run though it waits, then it has none for a minute, and that is said', () => {
    const { began, seconds, given, runnable, lines, ran } = host();
    began('a', 11);
    began('b', 12);
    seconds(5, () => 10);
    const before = ran.get(11)!;
    runnable.add(11);
    // As long as it may wait for another one that has a reservation.
    seconds(0.5, (tid) => (tid === 11 ? 0 : 10));
    expect([...given.keys()]).toEqual([11, 12]);
    seconds(0.2, (tid) => (tid === 11 ? 0 : 10));
    expect([...given.keys(), ran.get(11)]).toEqual([12, before]);
    expect(lines).toEqual([expect.stringContaining('was not run by this kernel')]);
    runnable.delete(11);
    seconds(59, () => 10);
    expect([...given.keys()]).toEqual([12]);
    seconds(5, () => 10);
    expect([...given.keys()]).toEqual([12, 11]);
    expect(lines).toHaveLength(1);
  });

  it('given one that sleeps for long, or waits and runs by turns, then it keeps what it has', () => {
    const { began, seconds, given, runnable, lines } = host();
    began('a', 11);
    began('b', 12);
    seconds(5, () => 10);
    runnable.add(12);
    for (let i = 0; i < 10; i++) {
      seconds(0.5, () => 0);
      seconds(0.1, (tid) => (tid === 12 ? 10 : 0));
    }
    expect([...given.keys()]).toEqual([11, 12]);
    expect(lines).toEqual([]);
  });

  it('given threads that have ended, then that is no news', () => {
    const { began, seconds, lines, state, ran } = host();
    began('a', 11);
    began('b', 12);
    seconds(2, () => 10);
    ran.delete(11);
    state.refusal = 'ESRCH';
    seconds(3, () => 10);
    expect(lines).toEqual([]);
  });

  it('given what an agent of before left, then it is taken back; and all is, when this one stops', () => {
    const { began, seconds, given, reservations } = host();
    given.set(11, { runtimeMs: 62, periodMs: 1_000 });
    began('a', 11);
    expect(given.size).toBe(0);
    seconds(5, () => 10);
    expect(given.size).toBe(1);
    reservations.stop();
    expect(given.size).toBe(0);
  });
});
