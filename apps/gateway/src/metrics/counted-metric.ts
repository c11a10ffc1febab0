import { Metric, type Registry } from 'prom-client';
import type { HistogramCounts } from '#protocol';

type Labels = Record<string, string>;
interface Sample {
  metricName?: string;
  labels: Labels;
  value: number;
}

/**
 * A counter or histogram that somebody else counts, and that is told here as it is. The client library has only such that are counted
 * in this process.
 */
export class CountedMetric {
  readonly #samples: Sample[] = [];

  constructor(
    private readonly definition: { name: string; help: string; type: 'counter' | 'histogram' },
    registry: Registry,
  ) {
    // The registry asks no more of a metric than its name and what get() tells.
    registry.registerMetric({
      name: definition.name,
      get: () => this.#told(),
      reset: () => this.clear(),
    } as unknown as Metric);
  }

  clear(): void {
    this.#samples.length = 0;
  }

  count(labels: Labels, value: number): void {
    this.#samples.push({ labels, value });
  }

  histogram(labels: Labels, { bounds, counts, count, sum }: HistogramCounts): void {
    const { name } = this.definition;
    const bucket = (le: string, value: number) =>
      this.#samples.push({ metricName: `${name}_bucket`, labels: { le, ...labels }, value });
    for (const [i, bound] of bounds.entries()) bucket(String(bound), counts[i] ?? 0);
    bucket('+Inf', count);
    this.#samples.push({ metricName: `${name}_sum`, labels, value: sum });
    this.#samples.push({ metricName: `${name}_count`, labels, value: count });
  }

  #told() {
    const { name, help, type } = this.definition;
    return { name, help, type, values: this.#samples, aggregator: 'sum' };
  }
}
