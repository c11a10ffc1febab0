import { SeededRandom } from '#chaos';

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
}

const TENANTS = ['acme', 'birch', 'cedar'] as const;
const SIZES_MIB = [64, 128, 256] as const;

/**
 * Creates of three tenants and sizes at random times (a Poisson process), with lives of random length: from half to one and a half times the
 * mean, all alike likely; half of them by a time to live. The same for the same plan.
 */
export function seededDemand({ seed, creates, perSecond, meanLifeMs, leastTtlSeconds = 1 }: DemandPlan): Arrival[] {
  const random = new SeededRandom(seed);
  let atMs = 0;
  return Array.from({ length: creates }, () => {
    atMs -= (1_000 / perSecond) * Math.log(1 - random.next());
    const tenant = random.pick(TENANTS);
    const memoryMiB = random.pick(SIZES_MIB);
    const lifeMs = meanLifeMs * (0.5 + random.next());
    const ending =
      random.next() < 0.5
        ? { ttlSeconds: Math.max(leastTtlSeconds, Math.round(lifeMs / 1_000)) }
        : { deleteAfterMs: lifeMs };
    return { atMs, tenant, memoryMiB, ...ending };
  });
}
