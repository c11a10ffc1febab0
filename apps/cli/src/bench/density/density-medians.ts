import { round } from '../percentiles';
import { median } from '../vmm/compare';
import type { DensityResult } from './density.bench';

/** What the runs of a measurement come to; null where no run has the figure. Times in ms. */
export interface DensityMedians {
  wallMs: number | null;
  startsPerSecond: number | null;
  /** From admission to guest code, of all starts of a run. */
  startP50: number | null;
  startP99: number | null;
  /** p99 of a run's last starts / that of its first. */
  slowdownP99: number | null;
  marginalCostKiB: number | null;
  deletedMs: number | null;
  reclaimedMs: number | null;
}

/** Each figure's own median, so that no run need be the middle one in all of them. */
export function densityMedians(runs: readonly DensityResult[]): DensityMedians {
  const of = (value: (run: DensityResult) => number | null | undefined): number | null => {
    const middle = median(runs.flatMap((run) => value(run) ?? []));
    return middle === undefined ? null : round(middle);
  };
  return {
    wallMs: of(({ wallMs }) => wallMs),
    startsPerSecond: of(({ startsPerSecond }) => startsPerSecond),
    startP50: of(({ phases }) => phases['admissionToGuest']?.p50),
    startP99: of(({ phases }) => phases['admissionToGuest']?.p99),
    slowdownP99: of(({ slowdown }) => slowdown?.p99),
    marginalCostKiB: of(({ memory }) => memory.marginalCostKiB),
    deletedMs: of(({ teardown }) => teardown.deletedMs),
    reclaimedMs: of(({ teardown }) => teardown.reclaimedMs),
  };
}
