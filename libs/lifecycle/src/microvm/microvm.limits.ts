/** Bounds of a microVM's life, in ms unless named otherwise. Every state that waits for somebody has one. */
export const MICROVM_LIMITS = {
  /** Placements tried before a start is given up. */
  placementAttempts: 8,
  /** How long a host may be waited for, unless the spec says otherwise. */
  capacityWait: 30_000,
  /** After that the placement service has to have answered. */
  placementDeadline: 10_000,
  /** From the start command to the fact `started`: includes the host's paced queue of launches. */
  startDeadline: 60_000,
  pauseDeadline: 15_000,
  /** A snapshot is written and its content hashed meanwhile: that takes as long as its memory is large, see {@link snapshotDeadline}. */
  snapshotDeadline: 60_000,
  /** Added to the time-out of a stop: after that it is killed, again and again, until the host answers. */
  stopGrace: 5_000,
  eraseDeadline: 10_000,
  /** After the lease of a host has ended, before an incarnation elsewhere: the host's own clock may lag. */
  leaseMargin: 5_000,
  /** A run that lasts this long was a good one: restarts are counted, and their waits grow, from the beginning again. */
  goodRun: 600_000,
  /** How often a resting state is compared with the host. */
  review: 3_600_000,
  /** The same while the host does not answer. */
  unreachableReview: 30_000,
} as const;

/** Wait before placement attempt number `attempts + 1`: 100 ms doubling up to 5 s. */
export function placementBackoff(attempts: number): number {
  return Math.min(5_000, 100 * 2 ** Math.max(0, attempts - 1));
}

/** How long a host may take to write all memory of a microVM to its disk, at 20 MiB/s or more. */
export function snapshotDeadline(memoryMiB: number): number {
  return MICROVM_LIMITS.snapshotDeadline + memoryMiB * 50;
}

/** Wait before restart number `restarts + 1`: 0.5 s doubling up to 5 min. */
export function restartBackoff(restarts: number): number {
  return Math.min(300_000, 500 * 2 ** restarts);
}

/** How long to wait for a host's answer in round `rounds + 1` of asking: doubling up to 64 times, so that a host that is away for days does not fill histories. */
export function askAgainAfter(firstMs: number, rounds: number): number {
  return firstMs * 2 ** Math.min(rounds, 6);
}
