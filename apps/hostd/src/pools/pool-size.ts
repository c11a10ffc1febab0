import type { PoolPolicy } from '#protocol';

/** Standard deviations of a Poisson arrival that the headroom covers: all but one in a thousand. */
const DEVIATIONS = 3;

export interface PoolDemand {
  /** Claims per second. */
  perSecond: number;
  /** How long one more takes to be ready, s. */
  makeS: number;
  /** Since the last claim, s. */
  quietS: number;
}

/**
 * How many to keep ready. While one is made, `perSecond * makeS` others are claimed on average (Little's law: L = λW); the headroom
 * grows with the square root of that, as the spread of independent arrivals does (square-root staffing), and is never less than
 * one start in flight while there is demand at all. Pure.
 */
export function poolSize({ min, max, quietSeconds }: PoolPolicy, { perSecond, makeS, quietS }: PoolDemand): number {
  if (quietS > quietSeconds || perSecond <= 0) return min;
  const busy = perSecond * makeS;
  return Math.min(max, Math.max(min, Math.ceil(busy + DEVIATIONS * Math.sqrt(busy))));
}
