/**
 * Wall time in ms since 1970 with fractions, made of CLOCK_MONOTONIC and an offset.
 *
 * JavaScript tells the wall clock in whole ms only. Each look at it says that the true offset lies within one ms, and the
 * offset is moved into that window when it lies outside. So it starts true (set at the moment the ms turns), follows the slow
 * drift between the two clocks as well as a step of the wall clock, and agrees between the processes of one machine.
 */
export class WallClock {
  #offsetMs: number;

  constructor() {
    const before = Date.now();
    let turned = before;
    while (turned === before) turned = Date.now();
    this.#offsetMs = turned - monotonicMs();
  }

  now(): number {
    const monotonic = monotonicMs();
    this.#follow(monotonic);
    return monotonic + this.#offsetMs;
  }

  /** Wall time of a CLOCK_MONOTONIC reading in ns, such as `process.hrtime.bigint()` or a time in a VMM's statistics page. */
  ofMonotonic(ns: bigint): number {
    this.#follow(monotonicMs());
    return Number(ns) / 1e6 + this.#offsetMs;
  }

  #follow(monotonic: number): void {
    const least = Date.now() - monotonic;
    this.#offsetMs = Math.min(Math.max(this.#offsetMs, least), least + 1);
  }
}

function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

const clock = new WallClock();

/** Wall time in ms since 1970, to the microsecond. */
export function wallClockMs(): number {
  return Math.round(clock.now() * 1000) / 1000;
}
