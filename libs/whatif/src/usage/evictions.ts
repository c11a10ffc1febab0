import { RECLAIM } from '#scheduling';
import type { ReplayedStay } from '../replay/replay';
import { visitSteps, type Steps } from './stay-steps';
import type { UsageSeries } from './usage-series';

/**
 * How many best-effort microVMs of a host would have been evicted: whenever less memory is available than eviction begins at, those that
 * hold the most go, until as much is available as is to be. An upper bound: what balloons and suspending take back before is not counted. `memoryMiB`: what
 * all used, by step; what the evicted would have used is taken off it.
 */
export function evictionsOn(
  stays: readonly { stay: ReplayedStay; series: UsageSeries | undefined }[],
  memoryMiB: Float64Array,
  roomMiB: number,
  steps: Steps,
): number {
  const least = (percent: number): number => (1 - percent / 100) * roomMiB;
  if (!memoryMiB.some((used) => used > least(RECLAIM.evictBelow))) return 0;
  const there = new Map<number, { stay: ReplayedStay; series: UsageSeries; mib: number }[]>();
  for (const { stay, series } of stays) {
    if (stay.claim.demand.class !== 'bestEffort' || !series) continue;
    visitSteps(stay, series, steps, (step, part, used) => {
      const together = there.get(step) ?? [];
      there.set(step, together);
      together.push({ stay, series, mib: part * used!.memoryMiB });
    });
  }
  const evicted = new Set<ReplayedStay>();
  for (let step = 0; step < memoryMiB.length; step++) {
    if (memoryMiB[step]! <= least(RECLAIM.evictBelow)) continue;
    const candidates = (there.get(step) ?? []).filter(({ stay }) => !evicted.has(stay)).sort((a, b) => b.mib - a.mib);
    for (const { stay, series } of candidates) {
      if (memoryMiB[step]! <= least(RECLAIM.until)) break;
      evicted.add(stay);
      visitSteps(stay, series, steps, (later, part, used) => {
        if (later >= step) memoryMiB[later]! -= part * used!.memoryMiB;
      });
    }
  }
  return evicted.size;
}
