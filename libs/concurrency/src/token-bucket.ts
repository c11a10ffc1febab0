const ROUNDING = 1e-9;

/** Evenly refilled allowance: `perSecond` on average, `burst` at once, by default as many as in a second, at least one. Pure: time is an argument. */
export class TokenBucket {
  #tokens: number;
  #atMs: number;

  constructor(
    private readonly perSecond: number,
    nowMs: number,
    private readonly burst = Math.max(1, perSecond),
  ) {
    this.#tokens = burst;
    this.#atMs = nowMs;
  }

  /** Takes one and gives 0, or takes nothing and gives in how many ms there will be one. */
  take(nowMs: number): number {
    const passedMs = Math.max(0, nowMs - this.#atMs);
    this.#tokens = Math.min(this.burst, this.#tokens + (passedMs * this.perSecond) / 1_000);
    this.#atMs = nowMs;
    // Not for what arithmetic on fractions leaves out.
    const missing = 1 - this.#tokens - ROUNDING;
    if (missing > 0) return Math.max(1, Math.ceil((missing * 1_000) / this.perSecond));
    this.#tokens -= 1;
    return 0;
  }
}
