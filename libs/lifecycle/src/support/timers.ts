/** A timer of the machine: durable because it is a function of the history that armed it. */
export interface Timer {
  /** Name as in the machine's `delays`, also its name in the history. */
  readonly name: string;
  /** ms since 1970. */
  readonly dueAt: number;
  readonly delayMs: number;
}

/** The timers of one life by name. A list: there are one or two, and every idle microVM has them in memory. Immutable. */
export class Timers implements Iterable<Timer> {
  static readonly NONE = new Timers([]);

  private constructor(private readonly all: readonly Timer[]) {}

  static of(timers: readonly Timer[]): Timers {
    return timers.length === 0 ? Timers.NONE : new Timers(timers);
  }

  get size(): number {
    return this.all.length;
  }

  get(name: string): Timer | undefined {
    return this.all.find((timer) => timer.name === name);
  }

  has(name: string): boolean {
    return this.get(name) !== undefined;
  }

  [Symbol.iterator](): Iterator<Timer> {
    return this.all[Symbol.iterator]();
  }
}
