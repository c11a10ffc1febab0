const FIRST_MS = 500;
const LONGEST_MS = 15_000;

/**
 * How long to wait before the next try, in ms: doubles from half a second to 15 s, then spread over its upper half by
 * `random` (0..1) so that a thousand pages do not come back in the same instant.
 */
export function backOff(failures: number, random: number, atLeastMs = 0): number {
  const full = Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.max(0, Math.min(failures - 1, 20)));
  return Math.max(atLeastMs, Math.round(full * (0.5 + random / 2)));
}
