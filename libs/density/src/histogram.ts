import type { HistogramCounts } from '#protocol';

/** Share of the time that vCPUs waited, as ratios. */
export const WAIT_BOUNDS = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5];
/** From admission to the guest's boot-timer write, seconds. */
export const START_BOUNDS = [0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

export class Histogram {
  readonly #counts: number[];
  #count = 0;
  #sum = 0;

  constructor(private readonly bounds: readonly number[]) {
    this.#counts = bounds.map(() => 0);
  }

  observe(value: number): void {
    this.#count++;
    this.#sum += value;
    for (let i = this.bounds.length - 1; i >= 0 && value <= this.bounds[i]!; i--) this.#counts[i]!++;
  }

  read(): HistogramCounts {
    return { bounds: [...this.bounds], counts: [...this.#counts], count: this.#count, sum: this.#sum };
  }
}
