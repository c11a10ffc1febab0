import type { ReplayedStay } from '../replay/replay';
import { usedAt, type Used, type UsageSeries } from './usage-series';

/** A span of time in steps of equal length; ms since 1970. */
export interface Steps {
  from: number;
  to: number;
  stepMs: number;
}

export const stepsIn = ({ from, to, stepMs }: Steps): number => Math.max(1, Math.ceil((to - from) / stepMs));

/**
 * Visits the steps in which a stay was there, with what it used then and the part of the step that it was there for, so that a short one
 * counts for no more than it is. `used` is undefined where no usage is known.
 */
export function visitSteps(
  stay: ReplayedStay,
  series: UsageSeries | undefined,
  steps: Steps,
  visit: (step: number, part: number, used: Used | undefined) => void,
): void {
  const { from, stepMs } = steps;
  const first = Math.max(0, Math.floor((stay.from - from) / stepMs));
  const last = Math.min(stepsIn(steps) - 1, Math.floor((stay.to - from) / stepMs));
  for (let step = first; step <= last; step++) {
    const begin = from + step * stepMs;
    const part = (Math.min(stay.to, begin + stepMs) - Math.max(stay.from, begin)) / stepMs;
    if (part > 0) visit(step, part, series && usedAt(series, Math.max(0, begin - stay.from)));
  }
}
