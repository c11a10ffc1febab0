import type { DensityHistory, KeptFigure } from '#protocol';

/** A line of a chart: parts that are drawn apart where nothing is known in between. */
export interface ChartLine {
  figure: KeptFigure;
  /** Attribute `d` of a path in a box of 1000 x 100, y downwards. */
  path: string;
  /** The latest value. */
  last: number | null;
}

/** The means of figures of one unit over time, on one scale from 0 to `most`. */
export function chartLines(
  { from, to, stepMs, points }: DensityHistory,
  figures: readonly KeptFigure[],
): { most: number; lines: ChartLine[] } {
  const maxima = points.flatMap((point) => figures.map((figure) => point.figures[figure]?.mean ?? 0));
  const most = Math.max(1, ...maxima);
  const lines = figures.map((figure) => {
    let path = '';
    let last: number | null = null;
    let lastAt = -Infinity;
    for (const { at, figures: found } of points) {
      const value = found[figure]?.mean;
      if (value === undefined) continue;
      const x = (1_000 * (at - from)) / Math.max(1, to - from);
      path += `${at - lastAt > 1.5 * stepMs ? 'M' : 'L'}${x.toFixed(1)} ${(100 - (100 * value) / most).toFixed(2)}`;
      last = value;
      lastAt = at;
    }
    return { figure, path, last };
  });
  return { most, lines };
}
