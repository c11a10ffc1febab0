/** Nearest-rank percentile: the smallest value with at least `percent` % of all values at or below it. 0 of no values. */
export function percentile(values: readonly number[], percent: number): number {
  if (values.length === 0) return 0;
  const sorted = Float64Array.from(values).sort();
  const rank = Math.ceil((percent / 100) * sorted.length);
  return sorted[Math.min(sorted.length, Math.max(1, rank)) - 1]!;
}

/** vCPU wait: share of the time a vCPU thread wanted a CPU in which it had none; what the guest sees as steal. Percent. */
export function waitPercent(runNs: number, delayNs: number): number {
  const wanted = runNs + delayNs;
  return wanted > 0 ? (100 * delayNs) / wanted : 0;
}

/** CPU use as cores: `cpuMs` of CPU time within `elapsedMs`. */
export function coresUsed(cpuMs: number, elapsedMs: number): number {
  return elapsedMs > 0 ? Math.max(0, cpuMs) / elapsedMs : 0;
}

/** One reading while a host is filled: how many microVMs ran, what the host used, what their guests had touched. */
export interface FillPoint {
  microvms: number;
  /** MemTotal - MemAvailable, KiB. */
  hostUsedKiB: number;
  /** Private pages of guest memory in all VMMs, KiB. */
  guestKiB: number;
}

/**
 * Marginal cost: host memory one more microVM takes beyond its own guest pages, the kernel's share included; the slope of
 * (host used - guest pages) over the number of microVMs by least squares, KiB. Undefined below two distinct counts.
 */
export function marginalCostKiB(points: readonly FillPoint[]): number | undefined {
  const n = points.length;
  const meanX = points.reduce((sum, point) => sum + point.microvms, 0) / n;
  const meanY = points.reduce((sum, point) => sum + point.hostUsedKiB - point.guestKiB, 0) / n;
  let covariance = 0;
  let variance = 0;
  for (const point of points) {
    const dx = point.microvms - meanX;
    covariance += dx * (point.hostUsedKiB - point.guestKiB - meanY);
    variance += dx * dx;
  }
  return variance > 0 ? covariance / variance : undefined;
}
