/** Where time comes from. Injected, so that a test turns the hands itself. */
export interface Clock {
  /** Wall clock, ms since 1970. May jump. */
  now(): number;
  /** Calls back once after `delayMs` of monotonic time (at most 2^31 - 1 ms). Returns a function that cancels. */
  after(delayMs: number, callback: () => void): () => void;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  after(delayMs, callback) {
    const timer = setTimeout(callback, delayMs);
    return () => clearTimeout(timer);
  },
};
