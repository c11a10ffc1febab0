/** What microVMs took in one window, against what they were promised then; of one resource, in its own unit. */
export interface UsageWindow {
  committed: number;
  used: number;
}

/**
 * N-sigma: the part of what is promised that will be used at the peak, at most 1: mean + N standard deviations of used / promised over
 * the windows. (Bashir et al., "Take it to the limit", EuroSys'21; as in their simulator, deviations are of the whole population.)
 */
export function nSigmaShare(windows: readonly UsageWindow[], sigmas: number): number {
  const shares = windows.map(({ committed, used }) => (committed > 0 ? Math.min(1, used / committed) : 0));
  const mean = shares.reduce((sum, share) => sum + share, 0) / shares.length;
  const variance = shares.reduce((sum, share) => sum + (share - mean) ** 2, 0) / shares.length;
  return Math.min(1, mean + sigmas * Math.sqrt(variance));
}

/** Sum over microVMs of the nearest-rank percentile of what each used, and no more than it was promised. From the same paper. */
export function percentileSum(
  microvms: Iterable<{ promised: number; used: readonly number[] }>,
  percent: number,
): number {
  let sum = 0;
  for (const { promised, used } of microvms) {
    // One that was not seen yet may take all that it was promised.
    sum += used.length === 0 ? promised : Math.min(promised, nearestRank(used, percent));
  }
  return sum;
}

function nearestRank(values: readonly number[], percent: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length, Math.max(1, Math.ceil((percent / 100) * sorted.length))) - 1]!;
}

/**
 * The overcommit ratio at which whatever is admitted next, counted in full, fits beside the predicted peak of what is there:
 * committed + next <= capacity x ratio exactly when peak + next <= capacity. Never below 1: what is promised once may be used.
 */
export function ratioBeside(peak: number, committed: number, capacity: number, most: number): number {
  if (capacity <= 0) return 1;
  return Math.min(most, Math.max(1, (capacity + committed - peak) / capacity));
}
