import { SeededRandom } from './seeded-random';

/** One create of a load. */
export interface Arrival {
  /** ms from the beginning. */
  atMs: number;
  tenant: string;
  memoryMiB: number;
  /** Its end: by its time to live, which runs from its creation, or deleted by its client when it has run so long. */
  ttlSeconds?: number;
  deleteAfterMs?: number;
}

export interface DemandPlan {
  seed: number;
  creates: number;
  perSecond: number;
  meanLifeMs: number;
  /** Least time to live, s: one that is no longer than its create waits makes it a matter of chance which of both ends the wait. */
  leastTtlSeconds?: number;
  /** How lives differ: from half to one and a half times the mean, all alike likely (default), or as of what ends at any time alike likely. */
  lives?: keyof typeof LIVES;
}

/** Shares of the mean, of a number from 0 to 1. */
const LIVES = {
  uniform: (drawn: number): number => 0.5 + drawn,
  exponential: (drawn: number): number => -Math.log(1 - drawn),
};
/** What lives shorter is hardly there. */
const LEAST_LIFE_MS = 50;

const TENANTS = ['acme', 'birch', 'cedar'] as const;
const SIZES_MIB = [64, 128, 256] as const;

/** Creates of three tenants and sizes at random times (a Poisson process), half of them ended by a time to live. The same for the same plan. */
export function seededDemand(plan: DemandPlan): Arrival[] {
  const { seed, creates, perSecond, meanLifeMs, leastTtlSeconds = 1, lives = 'uniform' } = plan;
  const random = new SeededRandom(seed);
  let atMs = 0;
  return Array.from({ length: creates }, () => {
    atMs -= (1_000 / perSecond) * Math.log(1 - random.next());
    const tenant = random.pick(TENANTS);
    const memoryMiB = random.pick(SIZES_MIB);
    const lifeMs = meanLifeMs * LIVES[lives](random.next());
    const ending =
      random.next() < 0.5
        ? { ttlSeconds: Math.max(leastTtlSeconds, Math.round(lifeMs / 1_000)) }
        : { deleteAfterMs: Math.max(LEAST_LIFE_MS, lifeMs) };
    return { atMs, tenant, memoryMiB, ...ending };
  });
}
