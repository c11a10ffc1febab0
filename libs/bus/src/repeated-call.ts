import { OperationError } from '#protocol';

/** Until it is sent again where nobody is there to answer, ms: NATS says so at once, and no service is burdened by it. */
const NOBODY_MS = 250;
/** Callers that were held up together are not to come back together: every pause is up to this much longer, as a part of it. */
const SPREAD = 0.2;

export interface RepeatedCallParts<T> {
  /** Sends the request and settles by the deadline. Its errors `unavailable` and `overloaded` say that nothing was done. */
  attempt: (repeated: boolean) => Promise<T>;
  /** Until it is sent a second time, ms after the first; then after twice, four times, eight times as long, as long as nobody answers. */
  firstMs: number;
  deadlineMs: number;
}

/**
 * Sends a request that names itself once more where no answer came, ever less often, and takes the first answer to any of its attempts.
 *
 * A service that has fallen behind must not be buried for good: were late answers lost, everything that it did would be in vain once it needs
 * longer than `firstMs`; and repeats at an even pace would soon be most of what it has to do.
 *
 * Rejects with a refusal only when every attempt was refused, else with `timeout` at the deadline: somebody may have done it.
 */
export function repeatedCall<T>(parts: RepeatedCallParts<T>): Promise<T> {
  return new RepeatedCall(parts).answer;
}

class RepeatedCall<T> {
  readonly answer: Promise<T>;
  readonly #startedMs = performance.now();
  /** Attempts that may still be answered. */
  #open = 0;
  #sent = 0;
  #refused = 0;
  #unanswered: OperationError | undefined;
  #timer: NodeJS.Timeout | undefined;
  #dueMs = 0;
  #isLate = false;
  #isOver = false;
  #resolve!: (answer: T) => void;
  #reject!: (error: unknown) => void;

  constructor(private readonly parts: RepeatedCallParts<T>) {
    this.answer = new Promise<T>((resolve, reject) => ((this.#resolve = resolve), (this.#reject = reject)));
    this.#send();
  }

  #send(): void {
    this.#open++;
    this.parts.attempt(this.#sent++ > 0).then(
      (answer) => this.#end(() => this.#resolve(answer)),
      (error: unknown) => this.#failed(error),
    );
    const unanswered = this.#sent - this.#refused;
    this.#wait(this.parts.firstMs * Math.max(1, 2 ** (unanswered - 2)));
  }

  #failed(error: unknown): void {
    if (this.#isOver) return;
    this.#open--;
    const code = error instanceof OperationError ? error.code : undefined;
    if (code === 'timeout') {
      this.#unanswered = error as OperationError;
      if (this.#isLate) this.#giveUp();
      return;
    }
    const isRefusal = code === 'unavailable' || code === 'overloaded';
    if (!isRefusal || (this.#open === 0 && !this.#unanswered)) return this.#end(() => this.#reject(error));
    this.#refused++;
    const { retryAfterMs = 0 } = error as OperationError;
    if (code === 'unavailable') this.#wait(NOBODY_MS);
    else this.#wait(Math.max(retryAfterMs, this.#dueMs - this.#now()));
  }

  /** So long until the next attempt. */
  #wait(ms: number): void {
    clearTimeout(this.#timer);
    const pauseMs = ms * (1 + Math.random() * SPREAD);
    const leftMs = Math.max(0, this.parts.deadlineMs - this.#now());
    this.#dueMs = this.#now() + pauseMs;
    this.#timer = setTimeout(() => (pauseMs < leftMs ? this.#send() : this.#giveUp()), Math.min(pauseMs, leftMs));
  }

  /** At the deadline. Attempts that are open end by themselves then. */
  #giveUp(): void {
    this.#isLate = true;
    if (this.#open === 0 && this.#unanswered) this.#end(() => this.#reject(this.#unanswered));
  }

  #end(settle: () => void): void {
    if (this.#isOver) return;
    this.#isOver = true;
    clearTimeout(this.#timer);
    settle();
  }

  #now(): number {
    return performance.now() - this.#startedMs;
  }
}
