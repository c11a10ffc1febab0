/** What several runs with other seeds gave. */
export interface Spread {
  min: number;
  median: number;
  max: number;
}

/** Of at least one value; the median is the lower one of the two in the middle, so that it is a value that came out. */
export function spreadOf(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  return { min: sorted[0]!, median: sorted[(sorted.length - 1) >> 1]!, max: sorted.at(-1)! };
}
