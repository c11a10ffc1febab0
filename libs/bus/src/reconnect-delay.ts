const DELAY_MS = 150;
const JITTER_MS = 50;
/** What the two clocks drift apart in any time between two attempts is less than this; what is more is a step. */
const STEP_MS = 100;

/**
 * How long to wait between two attempts to reach the same server, for the client's `reconnectDelayHandler`.
 *
 * The client compares the wall clock with that of the last attempt. When the clock was put back in between, that attempt lies in the
 * future, and the client would not try again before the clock has caught up: for an hour, after a step of an hour. So a step is
 * taken off the wait, once for each server.
 */
export class ReconnectDelay {
  #offsetMs: number;
  #stepMs = 0;
  #left = 0;

  constructor(
    private readonly servers: number,
    private readonly wallMs: () => number = Date.now,
    private readonly monotonicMs: () => number = () => performance.now(),
  ) {
    this.#offsetMs = wallMs() - monotonicMs();
  }

  /** Asked before each attempt. @returns ms, less than nothing after a step back */
  next(): number {
    const offsetMs = this.wallMs() - this.monotonicMs();
    const backMs = this.#offsetMs - offsetMs;
    this.#offsetMs = offsetMs;
    if (backMs > STEP_MS) {
      this.#stepMs = backMs;
      this.#left = this.servers;
    }
    const delayMs = DELAY_MS + Math.floor(Math.random() * JITTER_MS);
    return this.#left-- > 0 ? delayMs - this.#stepMs : delayMs;
  }
}
