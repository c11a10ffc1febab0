import { START_PHASES, START_SPANS } from '../commands/microvm-timings';
import { duration } from '../output/quantities';
import { table } from '../output/table';
import type { Distribution } from './percentiles';

/** How long each step of a start took, and all of it for its caller. */
export function phaseTable(phases: Record<string, Distribution | null>): string {
  const ms = (value: number | undefined): string | undefined => (value === undefined ? undefined : duration(value));
  return table(
    [
      { title: 'STEP', value: ({ name }) => name },
      { title: 'P50', value: ({ at }) => ms(at?.p50), align: 'right' },
      { title: 'P90', value: ({ at }) => ms(at?.p90), align: 'right' },
      { title: 'P99', value: ({ at }) => ms(at?.p99), align: 'right' },
      { title: 'MAX', value: ({ at }) => ms(at?.max), align: 'right' },
      { title: 'MEANING', value: ({ meaning }) => meaning },
    ],
    [
      ...[...START_PHASES, ...START_SPANS].map(({ name, meaning }) => ({ name, meaning, at: phases[name] })),
      { name: 'client', meaning: 'from request to answer, as the caller saw it', at: phases['client'] },
    ],
  );
}
