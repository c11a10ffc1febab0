import { TokenBucket } from '#concurrency';

/** One token bucket per name, made anew when its rate changes. Names without a rate are not held back, and take no memory. */
export class RateLimits {
  readonly #buckets = new Map<string, { perSecond: number; bucket: TokenBucket }>();

  /** 0: go on. Else: too fast, ask again in as many ms. */
  take(name: string, perSecond: number | undefined, nowMs: number): number {
    if (perSecond === undefined) {
      this.#buckets.delete(name);
      return 0;
    }
    let held = this.#buckets.get(name);
    if (held?.perSecond !== perSecond) {
      held = { perSecond, bucket: new TokenBucket(perSecond, nowMs) };
      this.#buckets.set(name, held);
    }
    return held.bucket.take(nowMs);
  }
}
