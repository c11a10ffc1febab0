import { systemClock, type Clock } from './clock';

export interface DeadlineQueueOptions<Key> {
  /** Called once for a key whose time has come; the key has left the queue by then and may be set again. */
  due: (key: Key, atMs: number) => void;
  clock?: Clock;
  /**
   * The queue looks at the wall clock at least this often while it holds something, so a jump of the wall clock delays a
   * deadline by no more than this. Default 1000 ms.
   */
  maxSleepMs?: number;
}

interface Entry<Key> {
  readonly key: Key;
  atMs: number;
  /** Tie-break: of two deadlines at the same instant, the one set first fires first. */
  order: number;
  index: number;
}

/** How many deadlines fire before the event loop gets a turn: thousands may be due at once after a restart. */
const BURST = 256;

/**
 * Durable timers, the volatile half. The durable half is history itself: every record says which deadline it arms, so after
 * a restart whoever folds the history sets the same deadlines here again. One deadline per key; a min-heap with one timer.
 */
export class DeadlineQueue<Key> {
  readonly #heap: Entry<Key>[] = [];
  readonly #entries = new Map<Key, Entry<Key>>();
  readonly #clock: Clock;
  readonly #maxSleepMs: number;
  readonly #due: (key: Key, atMs: number) => void;
  #order = 0;
  #cancelTimer: (() => void) | undefined;
  #wakesAtMs = Infinity;
  #stopped = false;
  #firing = false;

  constructor(options: DeadlineQueueOptions<Key>) {
    this.#due = options.due;
    this.#clock = options.clock ?? systemClock;
    this.#maxSleepMs = options.maxSleepMs ?? 1000;
  }

  get size(): number {
    return this.#heap.length;
  }

  /** Sets, or moves, the deadline of `key` to the wall-clock instant `atMs`. One in the past fires on the next turn, never now. */
  set(key: Key, atMs: number): void {
    if (Number.isNaN(atMs)) throw new RangeError('a deadline must be a number of ms since 1970, got NaN');
    const existing = this.#entries.get(key);
    const order = this.#order++;
    if (existing) {
      existing.atMs = atMs;
      existing.order = order;
      this.#siftDown(existing.index);
      this.#siftUp(existing.index);
    } else {
      const entry: Entry<Key> = { key, atMs, order, index: this.#heap.length };
      this.#heap.push(entry);
      this.#entries.set(key, entry);
      this.#siftUp(entry.index);
    }
    this.#arm();
  }

  /** Takes the deadline of `key` back. Returns whether there was one. */
  clear(key: Key): boolean {
    const entry = this.#entries.get(key);
    if (!entry) return false;
    this.#remove(entry);
    return true;
  }

  /** The deadline of `key`, if it has one. */
  get(key: Key): number | undefined {
    return this.#entries.get(key)?.atMs;
  }

  /** The next deadline, left in place. */
  peek(): { key: Key; atMs: number } | undefined {
    const top = this.#heap[0];
    return top && { key: top.key, atMs: top.atMs };
  }

  /** Forgets everything and fires nothing any more. */
  stop(): void {
    this.#stopped = true;
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    this.#heap.length = 0;
    this.#entries.clear();
  }

  #arm(): void {
    if (this.#stopped || this.#firing) return;
    const top = this.#heap[0];
    if (!top) {
      this.#cancelTimer?.();
      this.#cancelTimer = undefined;
      return;
    }
    // A timer that wakes too early is harmless (it looks and sleeps again), so one is only replaced by an earlier one.
    if (this.#cancelTimer && this.#wakesAtMs <= top.atMs) return;
    this.#cancelTimer?.();
    const now = this.#clock.now();
    const delay = Math.min(Math.max(Math.ceil(top.atMs - now), 0), this.#maxSleepMs);
    this.#wakesAtMs = now + delay;
    this.#cancelTimer = this.#clock.after(delay, () => this.#wake());
  }

  #wake(): void {
    this.#cancelTimer = undefined;
    this.#wakesAtMs = Infinity;
    const now = this.#clock.now();
    this.#firing = true;
    try {
      for (let fired = 0; fired < BURST; fired++) {
        const top = this.#heap[0];
        if (!top || top.atMs > now) break;
        this.#remove(top);
        this.#due(top.key, top.atMs);
      }
    } finally {
      // Also when `due` threw: one failing deadline must not stop the others. The exception itself is the process's to see.
      this.#firing = false;
      this.#arm();
    }
  }

  #remove(entry: Entry<Key>): void {
    this.#entries.delete(entry.key);
    const last = this.#heap.pop()!;
    if (last === entry) return;
    last.index = entry.index;
    this.#heap[entry.index] = last;
    this.#siftDown(last.index);
    this.#siftUp(last.index);
  }

  #siftUp(from: number): void {
    const heap = this.#heap;
    let index = from;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!before(heap[index]!, heap[parent]!)) return;
      this.#swap(index, parent);
      index = parent;
    }
  }

  #siftDown(from: number): void {
    const heap = this.#heap;
    let index = from;
    for (;;) {
      const left = 2 * index + 1;
      const right = left + 1;
      let least = index;
      if (left < heap.length && before(heap[left]!, heap[least]!)) least = left;
      if (right < heap.length && before(heap[right]!, heap[least]!)) least = right;
      if (least === index) return;
      this.#swap(index, least);
      index = least;
    }
  }

  #swap(a: number, b: number): void {
    const heap = this.#heap;
    const entryA = heap[a]!;
    const entryB = heap[b]!;
    heap[a] = entryB;
    heap[b] = entryA;
    entryB.index = a;
    entryA.index = b;
  }
}

function before<Key>(a: Entry<Key>, b: Entry<Key>): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}
