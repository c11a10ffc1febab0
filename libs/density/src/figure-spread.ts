import type { DensityPoint, FigureSpread, KeptFigure } from '#protocol';
import { percentile } from './formulas';

const shortened = (value: number): number => Number(value.toPrecision(6));

/** Least, mean, most and nearest-rank 99th percentile of some readings; there must be one. */
export function spreadOf(values: readonly number[]): FigureSpread {
  return {
    min: shortened(Math.min(...values)),
    mean: shortened(values.reduce((sum, value) => sum + value, 0) / values.length),
    max: shortened(Math.max(...values)),
    p99: shortened(percentile(values, 99)),
  };
}

/** Gathers readings of one scope until a step is over. */
export class StepGatherer {
  readonly #values = new Map<KeptFigure, number[]>();
  #readings = 0;

  constructor(readonly at: number) {}

  add(figures: Partial<Record<KeptFigure, number>>): void {
    this.#readings++;
    for (const [name, value] of Object.entries(figures) as [KeptFigure, number][]) {
      const values = this.#values.get(name);
      if (values) values.push(value);
      else this.#values.set(name, [value]);
    }
  }

  point(): DensityPoint {
    const figures = Object.fromEntries([...this.#values].map(([name, values]) => [name, spreadOf(values)]));
    return { at: this.at, readings: this.#readings, figures };
  }
}

/**
 * Points of a longer step out of points of shorter ones. Least, mean and most are exact; the 99th percentile is that of the short
 * steps' 99th percentiles, each weighted by its readings: never below the true one by more than the readings of one short step.
 */
export function mergePoints(points: readonly DensityPoint[], stepMs: number): DensityPoint[] {
  const groups = new Map<number, DensityPoint[]>();
  for (const point of points) {
    const at = Math.floor(point.at / stepMs) * stepMs;
    const group = groups.get(at);
    if (group) group.push(point);
    else groups.set(at, [point]);
  }
  return [...groups].sort(([a], [b]) => a - b).map(([at, group]) => merged(at, group));
}

function merged(at: number, group: readonly DensityPoint[]): DensityPoint {
  const names = new Set(group.flatMap(({ figures }) => Object.keys(figures) as KeptFigure[]));
  const figures: DensityPoint['figures'] = {};
  for (const name of names) {
    const parts = group.flatMap(({ readings, figures: { [name]: spread } }) => (spread ? [{ readings, spread }] : []));
    const readings = parts.reduce((sum, part) => sum + part.readings, 0);
    figures[name] = {
      min: Math.min(...parts.map(({ spread }) => spread.min)),
      mean: shortened(parts.reduce((sum, part) => sum + part.spread.mean * part.readings, 0) / readings),
      max: Math.max(...parts.map(({ spread }) => spread.max)),
      p99: weightedP99(parts, readings),
    };
  }
  return { at, readings: group.reduce((sum, point) => sum + point.readings, 0), figures };
}

function weightedP99(parts: readonly { readings: number; spread: FigureSpread }[], readings: number): number {
  const sorted = [...parts].sort((a, b) => a.spread.p99 - b.spread.p99);
  let below = 0;
  for (const part of sorted) {
    below += part.readings;
    if (below >= 0.99 * readings) return part.spread.p99;
  }
  return sorted.at(-1)!.spread.p99;
}
