import { NoResultError, type Figure } from '../vmm/measured';
import { distribution } from '../percentiles';
import type { StartMeasure } from './start-contenders';

/** What volley-starts prints. */
interface Starts {
  wallUs: number;
  readyUs: number[];
  availableKiB?: { before: number; after: number };
  /** By the name of the program: of a microVM of ours, its VMM and what plays its agent. */
  programs?: Record<string, { processes: number; proportionalKiB: number; privateKiB: number }>;
}

/** What one run has measured; latencies in µs. @throws NoResultError when it said nothing of the kind, as when a guest did not start. */
export function startFigure(measure: StartMeasure, console: string): Figure {
  const line = console.split('\n').find((text) => text.startsWith('{"wallUs"'));
  if (line === undefined) throw new NoResultError('a guest did not say that it runs', console);
  const { wallUs, readyUs, availableKiB, programs = {} } = JSON.parse(line) as Starts;
  const count = readyUs.length;
  if (measure === 'rate') return { operationsPerSecond: (count * 1e6) / wallUs };
  if (measure === 'start') {
    const { p50, p99, max, mean } = distribution(readyUs)!;
    return { p50, p99, max, mean };
  }
  const all = Object.values(programs);
  const each = (sum: number): number => sum / count;
  return {
    hostKiB: each((availableKiB?.before ?? 0) - (availableKiB?.after ?? 0)),
    proportionalKiB: each(all.reduce((sum, { proportionalKiB }) => sum + proportionalKiB, 0)),
    privateKiB: each(all.reduce((sum, { privateKiB }) => sum + privateKiB, 0)),
  };
}
