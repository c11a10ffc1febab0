/** A step of the wall clock larger than this, ms, is followed; smaller differences are the clock's resolution. */
const STEP_MS = 20;

/**
 * One clock for a host: wall time in ms with fractions, made of CLOCK_MONOTONIC and a calibrated offset, so that times taken
 * here and times that a VMM wrote into its statistics page can be compared to the microsecond.
 */
export class HostClock {
  #offsetMs: number;

  constructor() {
    this.#offsetMs = performance.timeOrigin + performance.now() - this.#monotonicMs();
    this.follow();
  }

  /** Takes over a step of the system's wall clock. Call it now and then. */
  follow(): void {
    const difference = Date.now() - this.now();
    if (Math.abs(difference) > STEP_MS) this.#offsetMs += difference;
  }

  now(): number {
    return this.#monotonicMs() + this.#offsetMs;
  }

  /** Wall time in ms of a CLOCK_MONOTONIC reading in ns. */
  ofMonotonic(ns: bigint): number {
    return Number(ns) / 1e6 + this.#offsetMs;
  }

  #monotonicMs(): number {
    return Number(process.hrtime.bigint()) / 1e6;
  }
}
