/** Tokens that come back evenly; time is given, in ms. */
class Bucket {
  #atMs: number;
  #tokens: number;

  constructor(
    private readonly size: number,
    private readonly perSecond: number,
    nowMs: number,
  ) {
    this.#atMs = nowMs;
    this.#tokens = size;
  }

  take(nowMs: number): boolean {
    this.#tokens = Math.min(this.size, this.#tokens + ((nowMs - this.#atMs) / 1_000) * this.perSecond);
    this.#atMs = nowMs;
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }
}

/** How many microVMs may be woken: in a row, and then per second. */
export interface KnockLimits {
  /** By everybody together: resuming takes memory and processor from those that run. */
  host: { burst: number; perSecond: number };
  /** By one address, so that one who knocks everywhere wakes no fleet. */
  source: { burst: number; perSecond: number };
  /** Addresses that are remembered; beyond them the one that knocked longest ago is forgotten. */
  sources: number;
}

export const KNOCK_LIMITS: KnockLimits = {
  host: { burst: 20, perSecond: 5 },
  source: { burst: 5, perSecond: 0.5 },
  sources: 4_096,
};

/** Who may wake something now. Bounded, whoever knocks. */
export class KnockGate {
  readonly #host: Bucket;
  readonly #sources = new Map<string, Bucket>();

  constructor(
    private readonly nowMs: () => number,
    private readonly limits = KNOCK_LIMITS,
  ) {
    this.#host = new Bucket(limits.host.burst, limits.host.perSecond, nowMs());
  }

  /** True: this address may wake one. False: it, or everybody, has woken too many lately. */
  mayWake(address: string): boolean {
    const { source, sources } = this.limits;
    const now = this.nowMs();
    const bucket = this.#sources.get(address) ?? new Bucket(source.burst, source.perSecond, now);
    this.#sources.delete(address);
    this.#sources.set(address, bucket);
    if (this.#sources.size > sources) this.#sources.delete(this.#sources.keys().next().value!);
    return bucket.take(now) && this.#host.take(now);
  }
}
