import type { Clock } from '#journal';
import { ABANDONED_MS } from '#scheduling';
import { HostBook } from '../hosts/host-book';
import { askedFor } from '../testing/demands';
import { readyHost, reportOf } from '../../../../test/support/known-hosts';
import { CapacityQueue } from './capacity-queue';
import { Decider, type Made } from './decider';

/** A clock whose hands the test turns. */
class HandClock implements Clock {
  #now = 1_000_000;
  #timers: { at: number; callback: () => void }[] = [];

  now = (): number => this.#now;

  after(delayMs: number, callback: () => void): () => void {
    const timer = { at: this.#now + delayMs, callback };
    this.#timers.push(timer);
    return () => void (this.#timers = this.#timers.filter((one) => one !== timer));
  }

  pass(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      const next = this.#timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (!next) break;
      this.#timers = this.#timers.filter((one) => one !== next);
      this.#now = next.at;
      next.callback();
    }
    this.#now = end;
  }
}

describe('the queue for capacity', () => {
  const clock = new HandClock();
  let book: HostBook;
  let queue: CapacityQueue;
  let decided: [string, string | null][];

  /** The host says that it has room for so many. */
  const roomFor = (slots: number) => book.reported(reportOf('a', { headroom: { slots } }), clock.now());
  const wait = (tenant: string, id: string, waitMs = 30_000, spec = {}) => {
    const asked = askedFor(id, { tenant, ...spec });
    queue.add(id, {
      asked,
      waitUntil: clock.now() + waitMs,
      first: Promise.resolve({ id: '', hostId: null, reason: '', at: 0 }),
      decided: ({ hostId }: Made) => decided.push([id, hostId]),
    });
  };
  const placed = () => decided.map(([id]) => id);

  beforeEach(() => {
    decided = [];
    const log = { catchUp: () => undefined, append: () => Promise.resolve('1.0') };
    book = new HostBook((hostId) => queue?.offer(hostId));
    const decider = new Decider(book, log, clock.now);
    queue = new CapacityQueue(decider, clock);
    book.heardOf(readyHost('a'));
    roomFor(0);
    clock.pass(1);
  });
  afterEach(() => queue.stop());

  it('places what waits as soon as a host says that it has room, and no more than fit', () => {
    for (const id of ['1', '2', '3']) wait('t', id);
    roomFor(2);
    expect(decided).toEqual([
      ['1', 'a'],
      ['2', 'a'],
    ]);
    expect(queue.size).toBe(1);
    expect(queue.hasLineOf('t')).toBe(true);
  });

  it('gives tenants turns, however many of one wait', () => {
    for (let i = 0; i < 1_000; i++) wait('flood', `f${i}`);
    wait('quiet', 'q0');
    wait('quiet', 'q1');
    roomFor(4);
    expect(placed()).toEqual(['f0', 'q0', 'f1', 'q1']);
  });

  it('keeps the order within a tenant, and does not hold up others by one that does not fit', () => {
    wait('a', 'large', 30_000, { memoryMiB: 60_000 });
    wait('a', 'small');
    wait('b', 'other');
    book.reported(reportOf('a', { headroom: { slots: 9, memoryMiB: 1_000 } }), clock.now());
    expect(placed()).toEqual(['other']);
    book.reported(reportOf('a', { headroom: { slots: 9, memoryMiB: 65_000 } }), clock.now());
    expect(placed()).toEqual(['other', 'large', 'small']);
  });

  it('ends a wait with a decision when its time is over', () => {
    wait('t', '1', 500);
    clock.pass(499);
    expect(decided).toEqual([]);
    clock.pass(2);
    expect(decided).toEqual([['1', null]]);
    expect(queue.size).toBe(0);
  });

  it('lets go of whom nobody wants any more, and gives the turn to who comes next', () => {
    wait('t', 'large', 30_000, { memoryMiB: 60_000 });
    wait('t', 'small');
    book.reported(reportOf('a', { headroom: { slots: 9, memoryMiB: 1_000 } }), clock.now());
    expect(decided).toEqual([]);
    expect(queue.withdraw('large')).toBe(true);
    expect(decided).toEqual([['small', 'a']]);
    expect(queue.withdraw('large')).toBe(false);
    clock.pass(30_001);
    expect(placed()).toEqual(['small']);
  });

  it('gives the turn of whose time is over to who comes next', () => {
    wait('t', 'large', 500, { memoryMiB: 60_000 });
    wait('t', 'small');
    book.reported(reportOf('a', { headroom: { slots: 9, memoryMiB: 1_000 } }), clock.now());
    clock.pass(501);
    expect(decided).toEqual([
      ['large', null],
      ['small', 'a'],
    ]);
  });

  it('forgets who does not ask again, and nobody else', () => {
    wait('t', 'gone', 100_000);
    wait('t', 'there', 100_000);
    for (let passed = 0; passed < 2 * ABANDONED_MS; passed += 2_000) {
      clock.pass(2_000);
      expect(queue.askedAgain('there')).toBeDefined();
    }
    expect(queue.askedAgain('gone')).toBeUndefined();
    roomFor(5);
    expect(placed()).toEqual(['there']);
  });
});
