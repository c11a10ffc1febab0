/** What a free slot has ready; the more of it a start needs, the less is left to do. */
export interface Readiness {
  tap: boolean;
  shell: boolean;
}

const TAP = 1;
const SHELL = 2;
const KINDS = 4;
/** With which slots a start is served best, best first: what it needs is there, what it does not need is left to others. */
const ORDER = { network: [TAP | SHELL, TAP, SHELL, 0], plain: [SHELL, SHELL | TAP, 0, TAP] } as const;

/** Which slots are free. Of those that serve a start equally well it gives the lowest: few are used, and used again. */
export class SlotPool {
  readonly #free: Uint8Array;
  readonly #kind: Uint8Array;
  readonly #heaps = Array.from({ length: KINDS }, () => new MinHeap());
  #freeCount: number;

  constructor(readonly size: number) {
    this.#free = new Uint8Array(size).fill(1);
    this.#kind = new Uint8Array(size);
    this.#freeCount = size;
    for (let number = 0; number < size; number++) this.#heaps[0]!.push(number);
  }

  get free(): number {
    return this.#freeCount;
  }

  isFree(number: number): boolean {
    return this.#free[number] === 1;
  }

  /** Takes the free slot that serves best; undefined when none is free, or none that is below `limit`. */
  take(wants: keyof typeof ORDER, limit = this.size): number | undefined {
    for (const kind of ORDER[wants]) {
      const number = this.#peek(kind);
      if (number === undefined || number >= limit) continue;
      this.#heaps[kind]!.pop();
      this.claim(number);
      return number;
    }
    return undefined;
  }

  /** The lowest free slot of exactly this readiness, left where it is. */
  lowest({ tap, shell }: Readiness): number | undefined {
    return this.#peek((tap ? TAP : 0) | (shell ? SHELL : 0));
  }

  #peek(kind: number): number | undefined {
    const heap = this.#heaps[kind]!;
    for (;;) {
      const number = heap.top;
      // What was taken or became ready since it came in has another place now.
      if (number === undefined || (this.#free[number] === 1 && this.#kind[number] === kind)) return number;
      heap.pop();
    }
  }

  /** Takes this very slot. False when it is not free, or there is no such slot. */
  claim(number: number): boolean {
    if (this.#free[number] !== 1) return false;
    this.#free[number] = 0;
    this.#freeCount--;
    return true;
  }

  /** Gives a slot back, for the next one. */
  give(number: number): void {
    if (this.#free[number] !== 0) return;
    this.#free[number] = 1;
    this.#freeCount++;
    this.#heaps[this.#kind[number]!]!.push(number);
  }

  /** Says what a slot has ready from now on. */
  note(number: number, ready: Partial<Readiness>): void {
    const before = this.#kind[number];
    if (before === undefined) return;
    const { tap = (before & TAP) !== 0, shell = (before & SHELL) !== 0 } = ready;
    const kind = (tap ? TAP : 0) | (shell ? SHELL : 0);
    if (kind === before) return;
    this.#kind[number] = kind;
    if (this.#free[number] === 1) this.#heaps[kind]!.push(number);
  }
}

class MinHeap {
  readonly #items: number[] = [];

  get top(): number | undefined {
    return this.#items[0];
  }

  push(item: number): void {
    const items = this.#items;
    let at = items.push(item) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (items[parent]! <= item) break;
      items[at] = items[parent]!;
      at = parent;
    }
    items[at] = item;
  }

  pop(): void {
    const items = this.#items;
    const last = items.pop();
    if (last === undefined || items.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= items.length) break;
      if (child + 1 < items.length && items[child + 1]! < items[child]!) child++;
      if (items[child]! >= last) break;
      items[at] = items[child]!;
      at = child;
    }
    items[at] = last;
  }
}
