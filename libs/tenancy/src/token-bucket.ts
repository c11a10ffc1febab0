const ROUNDING = 1e-9;

/** Evenly refilled allowance: `perSecond` on average, a burst of as many (at least one) at once. Pure: time is an argument. */
export class TokenBucket {
  #tokens: number;
  #atMs: number;

  constructor(
    private readonly perSecond: number,
    nowMs: number,
  ) {
    this.#tokens = this.#most;
    this.#atMs = nowMs;
  }

  get #most(): number {
    return Math.max(1, this.perSecond);
  }

  /** Takes one and gives 0, or takes nothing and gives in how many ms there will be one. */
  take(nowMs: number): number {
    const passedMs = Math.max(0, nowMs - this.#atMs);
    this.#tokens = Math.min(this.#most, this.#tokens + (passedMs * this.perSecond) / 1_000);
    this.#atMs = nowMs;
    // Not for what arithmetic on fractions leaves out.
    const missing = 1 - this.#tokens - ROUNDING;
    if (missing > 0) return Math.max(1, Math.ceil((missing * 1_000) / this.perSecond));
    this.#tokens -= 1;
    return 0;
  }
}
