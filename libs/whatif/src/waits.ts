export interface Waits {
  p50: number;
  p99: number;
  max: number;
}

/** Nearest-rank percentiles, ms; 0 of none. */
export function waitsOf(ms: readonly number[]): Waits {
  const sorted = Float64Array.from(ms).sort();
  const rank = (percent: number): number =>
    Math.round(sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)] ?? 0);
  return { p50: rank(50), p99: rank(99), max: rank(100) };
}
