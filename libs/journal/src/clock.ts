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

/**
 * The wall clock as it was when this process began, and from then on monotonic: steps of the wall clock do not reach it. For leases and
 * waits, which are lengths of time: a clock that is put forward must not end a lease, nor one that is put back hold a wait up.
 */
export const steadyClock: Clock = { now: () => performance.timeOrigin + performance.now(), after: systemClock.after };

/**
 * When a timer of a history is due on the steady clock: what is left of it by the wall clock, and never more than its whole length, which
 * is what is left of one that was armed while the clock was ahead.
 */
export function steadyDue({ dueAt, delayMs }: { dueAt: number; delayMs: number }): number {
  return steadyClock.now() + Math.min(dueAt - systemClock.now(), delayMs);
}
