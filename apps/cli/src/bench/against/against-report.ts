import { table } from '../../output/table';
import type { Figure } from '../vmm/measured';
import type { AgainstParameters, AgainstResult } from './against.bench';

const SHOWN: readonly [measure: keyof Figure, title: string, show: (value: number) => string][] = [
  ['p50', 'p50, ms', (us) => (us / 1_000).toFixed(2)],
  ['p99', 'p99, ms', (us) => (us / 1_000).toFixed(2)],
  ['max', 'max, ms', (us) => (us / 1_000).toFixed(2)],
  ['operationsPerSecond', 'per second', (rate) => rate.toFixed(1)],
  ['hostKiB', 'host, MiB', (kib) => (kib / 1_024).toFixed(2)],
  ['proportionalKiB', 'proportional, MiB', (kib) => (kib / 1_024).toFixed(2)],
  ['privateKiB', 'private, MiB', (kib) => (kib / 1_024).toFixed(2)],
];

/** The comparison for people; the factors are those of our bare VMM. */
export function againstReport(parameters: AgainstParameters, result: AgainstResult): string {
  const { count, concurrency, held, rounds, memoryMiB } = parameters;
  const names = Object.keys(result.rounds);
  const ours = names[0]!;
  const rivals = [...new Set(result.factors.map(({ rival }) => rival))];
  const factorOf = (of: string, measure: keyof Figure, rival: string): string | undefined => {
    const found = result.factors.find(
      (one) => one.of === of && one.measure === measure && one.rival === rival && one.ours === ours,
    );
    return found && `x ${found.factor}`;
  };
  const rows = result.medians.flatMap(({ of, medians }) =>
    SHOWN.filter(([measure]) => names.some((name) => medians[name]?.[measure] !== undefined)).map(
      ([measure, title, show]) => ({ of, measure, title, show, medians }),
    ),
  );
  const lines = [
    `${result.guest} of ${memoryMiB} MiB on ${result.where}: ${rounds} rounds of ${count} starts one at a time, ${count} with ${concurrency} in flight, and ${held} held at once; medians of the rounds`,
    '',
    table(
      [
        { title: 'WHAT', value: ({ of }) => of },
        { title: 'MEASURE', value: ({ title }) => title },
        ...names.map((name) => ({
          title: name.toUpperCase(),
          value: ({ medians, measure, show }: (typeof rows)[number]) => {
            const value = medians[name]?.[measure];
            return value === undefined ? undefined : show(value);
          },
          align: 'right' as const,
        })),
        ...rivals.map((rival) => ({
          title: `AHEAD OF ${rival.toUpperCase()}`,
          value: ({ of, measure }: (typeof rows)[number]) => factorOf(of, measure, rival),
          align: 'right' as const,
        })),
      ],
      rows,
    ),
  ];
  return `${lines.join('\n')}\n`;
}
