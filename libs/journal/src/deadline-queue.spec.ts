import fc from 'fast-check';
import type { Clock } from './clock';
import { DeadlineQueue } from './deadline-queue';

/** A clock whose wall time and monotonic time are turned by hand. */
class HandClock implements Clock {
  wallMs = 1_000_000;
  #monotonicMs = 0;
  readonly timers: { atMs: number; callback: () => void }[] = [];

  now(): number {
    return this.wallMs;
  }
  after(delayMs: number, callback: () => void): () => void {
    if (delayMs > 2 ** 31 - 1) throw new RangeError(`a timer of ${delayMs} ms would fire at once`);
    const timer = { atMs: this.#monotonicMs + delayMs, callback };
    this.timers.push(timer);
    return () => {
      const index = this.timers.indexOf(timer);
      if (index >= 0) this.timers.splice(index, 1);
    };
  }
  /** Lets time pass: both clocks move, and timers fire in order. */
  pass(ms: number): void {
    const end = this.#monotonicMs + ms;
    for (;;) {
      const next = this.timers.filter(({ atMs }) => atMs <= end).sort((a, b) => a.atMs - b.atMs)[0];
      const to = next?.atMs ?? end;
      this.wallMs += to - this.#monotonicMs;
      this.#monotonicMs = to;
      if (!next) return;
      this.timers.splice(this.timers.indexOf(next), 1);
      next.callback();
    }
  }
}

function setup(due?: (key: string) => void) {
  const clock = new HandClock();
  const fired: { key: string; atMs: number; nowMs: number }[] = [];
  const queue = new DeadlineQueue<string>({
    clock,
    due: (key, atMs) => {
      fired.push({ key, atMs, nowMs: clock.now() });
      due?.(key);
    },
  });
  return { clock, queue, fired, keys: () => fired.map(({ key }) => key) };
}

describe('DeadlineQueue', () => {
  it('fires each deadline once, at its time, in order', () => {
    const { clock, queue, fired } = setup();
    const t = clock.now();
    queue.set('c', t + 300);
    queue.set('a', t + 100);
    queue.set('b', t + 200);
    expect(queue.peek()).toEqual({ key: 'a', atMs: t + 100 });
    clock.pass(99);
    expect(fired).toEqual([]);
    clock.pass(500);
    expect(fired.map(({ key, nowMs }) => [key, nowMs - t])).toEqual([
      ['a', 100],
      ['b', 200],
      ['c', 300],
    ]);
    expect(queue.size).toBe(0);
    expect(clock.timers).toEqual([]);
  });

  it('moves and takes back', () => {
    const { clock, queue, keys } = setup();
    const t = clock.now();
    queue.set('a', t + 100);
    queue.set('b', t + 100);
    queue.set('a', t + 300);
    expect(queue.clear('b')).toBe(true);
    expect(queue.clear('b')).toBe(false);
    expect(queue.get('a')).toBe(t + 300);
    clock.pass(299);
    expect(keys()).toEqual([]);
    queue.set('a', t + 300.5);
    clock.pass(2);
    expect(keys()).toEqual(['a']);
  });

  it('fires what is past on the next turn, never inside set()', () => {
    const { clock, queue, keys } = setup();
    queue.set('late', clock.now() - 1_000_000);
    expect(keys()).toEqual([]);
    clock.pass(0);
    expect(keys()).toEqual(['late']);
  });

  it('keeps a deadline beyond the longest timer', () => {
    const { clock, queue, keys } = setup();
    const year = 365 * 24 * 3600 * 1000;
    queue.set('far', clock.now() + year);
    clock.pass(60_000);
    expect(keys()).toEqual([]);
    clock.wallMs += year;
    clock.pass(1_000);
    expect(keys()).toEqual(['far']);
  });

  it('notices within a second that the wall clock jumped ahead', () => {
    const { clock, queue, fired } = setup();
    const at = clock.now() + 3_600_000;
    queue.set('a', at);
    clock.pass(500);
    clock.wallMs += 3_600_000;
    clock.pass(1_000);
    expect(fired).toEqual([{ key: 'a', atMs: at, nowMs: expect.any(Number) as number }]);
  });

  it('does not fire early when the wall clock jumped back', () => {
    const { clock, queue, keys } = setup();
    const at = clock.now() + 800;
    queue.set('a', at);
    clock.wallMs -= 5_000;
    clock.pass(5_799);
    expect(keys()).toEqual([]);
    clock.pass(1);
    expect(keys()).toEqual(['a']);
  });

  it('may be set again from within, also for the key that fires', () => {
    const { clock, queue, keys } = setup((key) => {
      if (key === 'again' && keys().length < 3) queue.set('again', clock.now() + 10);
    });
    queue.set('again', clock.now() + 10);
    clock.pass(100);
    expect(keys()).toEqual(['again', 'again', 'again']);
  });

  it('goes on after a deadline that throws', () => {
    const { clock, queue, keys } = setup((key) => {
      if (key === 'bad') throw new Error('bad');
    });
    queue.set('bad', clock.now() + 1);
    queue.set('good', clock.now() + 1);
    expect(() => clock.pass(1)).toThrow('bad');
    clock.pass(1);
    expect(keys()).toEqual(['bad', 'good']);
  });

  it('lets others have a turn while thousands are due', () => {
    const { clock, queue, fired } = setup();
    for (let i = 0; i < 1_000; i++) queue.set(`k${i}`, clock.now());
    const timer = clock.timers[0]!;
    clock.timers.length = 0;
    timer.callback();
    expect(fired.length).toBeLessThan(1_000);
    clock.pass(0);
    expect(fired.length).toBe(1_000);
    expect(fired.map(({ key }) => key)).toEqual(Array.from({ length: 1_000 }, (_, i) => `k${i}`));
  });

  it('fires nothing after stop()', () => {
    const { clock, queue, keys } = setup();
    queue.set('a', clock.now() + 1);
    queue.stop();
    clock.pass(10);
    expect([keys(), queue.size, clock.timers.length]).toEqual([[], 0, 0]);
  });

  it('behaves like a sorted list, whatever is set, cleared and passed', () => {
    const key = fc.integer({ min: 0, max: 20 }).map(String);
    const step = fc.oneof(
      fc.record({ do: fc.constant('set' as const), key, inMs: fc.integer({ min: -50, max: 500 }) }),
      fc.record({ do: fc.constant('clear' as const), key }),
      fc.record({ do: fc.constant('pass' as const), ms: fc.integer({ min: 0, max: 200 }) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
        const { clock, queue, fired } = setup();
        const model = new Map<string, number>();
        for (const one of steps) {
          if (one.do === 'set') {
            queue.set(one.key, clock.now() + one.inMs);
            model.set(one.key, clock.now() + one.inMs);
          } else if (one.do === 'clear') {
            expect(queue.clear(one.key)).toBe(model.delete(one.key));
          } else {
            const before = fired.length;
            clock.pass(one.ms);
            const due = [...model].filter(([, at]) => at <= clock.now());
            for (const [dueKey] of due) model.delete(dueKey);
            const now = fired.slice(before);
            expect(now.map((f) => f.key).sort()).toEqual(due.map(([k]) => k).sort());
            for (const f of now) expect(f.nowMs).toBeGreaterThanOrEqual(f.atMs);
          }
          expect(queue.size).toBe(model.size);
          expect(queue.peek()?.atMs).toBe(model.size ? Math.min(...model.values()) : undefined);
        }
      }),
      { numRuns: 300 },
    );
  });
});
