import { TokenBucket } from '#concurrency';

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
  readonly #host: TokenBucket;
  readonly #sources = new Map<string, TokenBucket>();

  constructor(
    private readonly nowMs: () => number,
    private readonly limits = KNOCK_LIMITS,
  ) {
    this.#host = new TokenBucket(limits.host.perSecond, nowMs(), limits.host.burst);
  }

  /** True: this address may wake one. False: it, or everybody, has woken too many lately. Without an address only the bound on everybody holds. */
  mayWake(address: string | undefined): boolean {
    const { source, sources } = this.limits;
    const now = this.nowMs();
    if (address === undefined) return this.#host.take(now) === 0;
    const bucket = this.#sources.get(address) ?? new TokenBucket(source.perSecond, now, source.burst);
    this.#sources.delete(address);
    this.#sources.set(address, bucket);
    if (this.#sources.size > sources) this.#sources.delete(this.#sources.keys().next().value!);
    return bucket.take(now) === 0 && this.#host.take(now) === 0;
  }
}
