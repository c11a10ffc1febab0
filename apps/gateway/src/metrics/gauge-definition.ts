import type { Gauge } from 'prom-client';

/** One gauge: its help, and its values by what is in braces, read from a report. Null: not measured there. */
export interface GaugeDefinition<Source> {
  help: string;
  /** Name of the label that tells the values apart; absent when there is one value. */
  label?: string;
  values: (source: Source) => Record<string, number | null>;
}

export const only = (value: number | null): Record<string, number | null> => ({ '': value });

export function fillGauge<Source>(
  gauge: Gauge,
  { label, values }: GaugeDefinition<Source>,
  source: Source,
  labels: Record<string, string>,
): void {
  for (const [kind, value] of Object.entries(values(source))) {
    if (value !== null) gauge.set(label ? { ...labels, [label]: kind } : labels, value);
  }
}
