import type { Figure, Figures } from './measured';

type Measure = keyof Figure;
const MEASURES: readonly Measure[] = [
  ...(['bytesPerSecond', 'operationsPerSecond', 'mean', 'p50', 'p99', 'max', 'lostPercent'] as const),
  ...(['hostKiB', 'proportionalKiB', 'privateKiB'] as const),
];

/** What was measured of one thing, by contender: each the median of its rounds; `ratio` is the first to the second. */
export interface Comparison {
  of: string;
  medians: Record<string, Figure>;
  ratio: Figure | null;
}

/** Rounds of each contender, in the order of the contenders. What a round lacks does not count. */
export function compare(rounds: ReadonlyMap<string, readonly Figures[]>): Comparison[] {
  const names = [...rounds.keys()];
  const things = [...new Set([...rounds.values()].flat().flatMap((figures) => Object.keys(figures)))];
  return things.map((of) => {
    const medians = Object.fromEntries(
      names.map((name) => [name, medianFigure(rounds.get(name)!.flatMap((figures) => figures[of] ?? []))]),
    );
    const [first, second] = names.map((name) => medians[name]!);
    return { of, medians, ratio: first && second ? ratioOf(first, second) : null };
  });
}

function medianFigure(figures: readonly Figure[]): Figure {
  return Object.fromEntries(
    MEASURES.flatMap((measure) => {
      const value = median(figures.flatMap((figure) => figure[measure] ?? []));
      return value === undefined ? [] : [[measure, round(value)]];
    }),
  );
}

function ratioOf(first: Figure, second: Figure): Figure {
  return Object.fromEntries(
    MEASURES.flatMap((measure) => {
      const [a, b] = [first[measure], second[measure]];
      return a === undefined || b === undefined || b === 0 ? [] : [[measure, round(a / b)]];
    }),
  );
}

export function median(values: readonly number[]): number | undefined {
  if (values.length === 0) return undefined;
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

function round(value: number): number {
  return Number(value.toPrecision(4));
}
