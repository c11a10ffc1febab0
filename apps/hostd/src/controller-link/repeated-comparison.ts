export interface RepeatedComparisonParts {
  compare: () => Promise<void>;
  /** Told of a comparison that failed, which is done again soon. */
  failed: (error: Error) => void;
  /** How often, should a change have been missed, ms. */
  everyMs: number;
  /** After a failure, ms. */
  retryMs: number;
}

/** Compares what this host holds with what is on record: one comparison at a time, regularly, and whenever something has changed. */
export class RepeatedComparison {
  #timer: NodeJS.Timeout | undefined;
  #comparing = false;
  #again = false;
  #stopped = false;

  constructor(private readonly parts: RepeatedComparisonParts) {}

  /** Now; and when one is under way, which may have looked too early, once more after it. */
  soon(): void {
    if (this.#comparing) this.#again = true;
    else this.#in(0);
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  #in(ms: number): void {
    clearTimeout(this.#timer);
    if (this.#stopped) return;
    this.#timer = setTimeout(() => void this.#compare(), ms);
    this.#timer.unref();
  }

  async #compare(): Promise<void> {
    const { compare, failed, everyMs, retryMs } = this.parts;
    this.#comparing = true;
    this.#again = false;
    let next = everyMs;
    try {
      await compare();
    } catch (error) {
      failed(error as Error);
      next = retryMs;
    } finally {
      this.#comparing = false;
      this.#in(this.#again ? 0 : next);
    }
  }
}
