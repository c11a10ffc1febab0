import type { ChaosFleet } from '../fleet/chaos-fleet';
import type { SeededRandom } from '../seeded-random';

/** Something bad that happens to a fleet, and is over when `strike` resolves: what it broke is whole again, if nothing heals it by itself. */
export interface Fault {
  /** What happens, with its numbers: for people, and the same for the same seed. */
  readonly name: string;
  /** Resolves with what was left out, and why, when this machine or this moment does not allow it. */
  strike(fleet: ChaosFleet): Promise<string | void>;
}

/** Draws a fault of one kind. Every number of it comes from the seed. */
export type FaultKind = (random: SeededRandom) => Fault;

/** Long enough for a host's lease (6 s) to end, and for the margin after it (5 s) to pass as well. */
export const LONGER_THAN_LEASE: readonly [number, number] = [7_000, 12_500];
const SHORT: readonly [number, number] = [200, 2_500];

/** How long something lasts, ms: mostly short, now and then longer than a lease. */
export function duration(random: SeededRandom, longChance = 0.2): number {
  const [from, to] = random.chance(longChance) ? LONGER_THAN_LEASE : SHORT;
  return random.int(from, to);
}
