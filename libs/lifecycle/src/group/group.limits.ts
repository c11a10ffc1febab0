/** Bounds of what a group does, in ms unless named otherwise. */
export const GROUP_LIMITS = {
  /** Members added by one decision: a record of a history stays small, and others get their turn. */
  addedAtOnce: 50,
  /** Failures of new members, after which a rollout is halted. */
  rolloutFailures: 3,
  firstBackoff: 500,
  longestBackoff: 300_000,
  /** A member that ran this long has failed anew, not again. */
  goodRun: 600_000,
  maxSurge: 1,
  maxUnavailable: 0,
} as const;

/** Wait before members are added again after `failures` rounds of failures in a row. */
export function groupBackoff(failures: number): number {
  return Math.min(GROUP_LIMITS.longestBackoff, GROUP_LIMITS.firstBackoff * 2 ** Math.min(30, failures - 1));
}
