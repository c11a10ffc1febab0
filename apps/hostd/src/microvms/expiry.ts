/**
 * When an incarnation ends by itself. The wall clock says when that is; from then on the monotonic clock counts, which no
 * administrator and no time server moves. It means nothing in another boot of the machine: then the wall clock is asked again.
 */
export interface Expiry {
  /** Wall clock, ms since 1970. */
  at: number;
  /** CLOCK_MONOTONIC of this boot, ms. */
  monotonicMs: number;
  bootId: string;
}

/** The clocks of one moment. */
export interface Moment {
  wallMs: number;
  monotonicMs: number;
  bootId: string;
}

export function expiryAt(at: number, { wallMs, monotonicMs, bootId }: Moment): Expiry {
  return { at, monotonicMs: monotonicMs + (at - wallMs), bootId };
}

/** ms until it is over; 0 or less: it is. */
export function msUntil(expiry: Expiry, { wallMs, monotonicMs, bootId }: Moment): number {
  return expiry.bootId === bootId ? expiry.monotonicMs - monotonicMs : expiry.at - wallMs;
}
