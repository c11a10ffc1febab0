/** Over how long starts are averaged: what is older than this counts for a third, s. */
const MEMORY_S = 30;

/** How often something is asked for: an exponentially weighted mean, which costs two numbers. Time is given, in seconds. */
export class ArrivalRate {
  #perSecond = 0;
  #at = 0;
  #lastArrival = -Infinity;

  arrived(nowS: number): void {
    this.#perSecond = this.perSecond(nowS) + 1 / MEMORY_S;
    this.#at = nowS;
    this.#lastArrival = nowS;
  }

  perSecond(nowS: number): number {
    return this.#perSecond * Math.exp(-Math.max(0, nowS - this.#at) / MEMORY_S);
  }

  /** Since the last one; Infinity when there was none. */
  quietS(nowS: number): number {
    return nowS - this.#lastArrival;
  }
}
