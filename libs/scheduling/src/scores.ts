import type { Candidate, Demand } from './candidate';

export interface Score {
  name: string;
  /** 0..1, higher is better. */
  value: number;
  weight: number;
}

/** What is left of each resource after this placement, as a share of the whole, and how calm the host is. */
export function scoreHost({ free, capacity, pressurePercent }: Candidate, demand: Demand): Score[] {
  return [
    { name: 'memoryLeft', value: share(free.memoryMiB - demand.memoryMiB, capacity.memoryMiB), weight: 0.5 },
    { name: 'vcpusLeft', value: share(free.vcpus - demand.vcpus, capacity.vcpus), weight: 0.3 },
    { name: 'calm', value: share(100 - pressurePercent, 100), weight: 0.2 },
  ];
}

/** Weighted sum of the scores, rounded to 4 digits so that a receipt can be checked by hand. */
export function totalScore(scores: readonly Score[]): number {
  return Math.round(scores.reduce((sum, { value, weight }) => sum + value * weight, 0) * 10_000) / 10_000;
}

function share(part: number, whole: number): number {
  return whole <= 0 ? 0 : Math.round(Math.min(1, Math.max(0, part / whole)) * 10_000) / 10_000;
}
