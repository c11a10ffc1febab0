import type { Exhaustion } from '#protocol';

const BLOCK_MS = 30_000;
const BLOCKS = 60;
const LEAST_BLOCKS = 10;
/** Standard errors on either side that hold 95 %. */
const BOUND = 2;

/** The trend of the used memory over the last half hour, in means of half minutes. */
export class UsedTrend {
  readonly #blocks: { atMs: number; sumKiB: number; count: number }[] = [];

  add(atMs: number, usedKiB: number): void {
    const last = this.#blocks.at(-1);
    if (last && atMs - last.atMs < BLOCK_MS) {
      last.sumKiB += usedKiB;
      last.count++;
      return;
    }
    this.#blocks.push({ atMs, sumKiB: usedKiB, count: 1 });
    if (this.#blocks.length > BLOCKS) this.#blocks.shift();
  }

  /** Null where less than five minutes are known, or where chance alone may explain that it grows. */
  exhaustion(availableKiB: number): Exhaustion | null {
    // The last one is not full yet.
    const points = this.#blocks.slice(0, -1).map(({ atMs, sumKiB, count }) => ({ x: atMs / 1_000, y: sumKiB / count }));
    if (points.length < LEAST_BLOCKS) return null;
    const { slope, error } = trendOf(points);
    const least = slope - BOUND * error;
    if (least <= 0) return null;
    return {
      seconds: availableKiB / slope,
      soonestSeconds: availableKiB / (slope + BOUND * error),
      latestSeconds: availableKiB / least,
    };
  }
}

/**
 * Slope by least squares with its standard error. Neighbours in time are alike, so there is less in n of them than in n
 * independent ones: n is corrected by the correlation of neighbouring residuals, n (1 - r) / (1 + r).
 */
function trendOf(points: readonly { x: number; y: number }[]): { slope: number; error: number } {
  const n = points.length;
  const meanX = points.reduce((sum, { x }) => sum + x, 0) / n;
  const meanY = points.reduce((sum, { y }) => sum + y, 0) / n;
  const xx = points.reduce((sum, { x }) => sum + (x - meanX) ** 2, 0);
  const slope = points.reduce((sum, { x, y }) => sum + (x - meanX) * (y - meanY), 0) / xx;
  const residuals = points.map(({ x, y }) => y - meanY - slope * (x - meanX));
  const squares = residuals.reduce((sum, r) => sum + r * r, 0);
  const neighbours = residuals.slice(1).reduce((sum, r, i) => sum + r * residuals[i]!, 0);
  const correlation = squares > 0 ? Math.min(0.95, Math.max(0, neighbours / squares)) : 0;
  const effective = Math.max(3, (n * (1 - correlation)) / (1 + correlation));
  return { slope, error: Math.sqrt((squares / (n - 2) / xx) * (n / effective)) };
}
