import type { Command } from 'commander';
import { InvalidArgumentError } from 'commander';
import type { Spread, WhatIfContention, WhatIfOutcome, WhatIfReport, WhatIfScenario } from '#protocol';
import { contextOf } from '../commands/context';
import { wholeNumber } from '../commands/option-types';
import type { Output } from '../output/output';
import { clock, duration, mebibytes } from '../output/quantities';
import { printable, table } from '../output/table';
import { instant, INSTANT_HELP, REPLAY_DEADLINE_MS } from './instant';

interface Options {
  from: string;
  to?: string;
  memoryRatio?: number;
  cpuRatio?: number;
  hosts?: WhatIfScenario['hosts'];
  runs: number;
}

/** A column of the comparison: what happened, or what came out of the runs of one scenario. */
type Column = { title: string; outcome?: WhatIfOutcome };

export function addWhatIfCommand(program: Command): void {
  program
    .command('whatif')
    .description('what would have become of the load of a time with other limits or hosts')
    .requiredOption('--from <time>', INSTANT_HELP)
    .option('--to <time>', `${INSTANT_HELP}; default: now`)
    .option('--memory-ratio <x>', 'most that hosts may promise of their memory', ratio)
    .option('--cpu-ratio <x>', 'most that hosts may promise of their CPUs', ratio)
    .option('--hosts <n|key=value>', 'so many hosts, or those with this label', hostsOption)
    .option('--runs <n>', 'how many runs with chance of their own', wholeNumber(1, 50), 5)
    .action(async ({ from, to, memoryRatio, cpuRatio, hosts, runs }: Options, command: Command) => {
      const { client, out } = contextOf(command);
      const scenario: WhatIfScenario = {
        ...(memoryRatio === undefined ? {} : { memoryRatio }),
        ...(cpuRatio === undefined ? {} : { cpuRatio }),
        ...(hosts === undefined ? {} : { hosts }),
      };
      const body = {
        from: instant(from),
        ...(to === undefined ? {} : { to: instant(to) }),
        alternatives: [scenario],
        runs,
      };
      const report = await client.post<WhatIfReport>('/v1/whatif', { body, deadlineMs: REPLAY_DEADLINE_MS });
      if (out.json) return out.document(report);
      tell(out, report);
    });
}

function tell(out: Output, report: WhatIfReport): void {
  const { load, recorded, base, alternatives, oracle, runs } = report;
  out.line(
    `${load.claims} claims of ${load.tenants} tenants on ${load.hosts} hosts from ${clock(report.from)} to ${clock(report.to)} ` +
      `(${duration(report.to - report.from)}); ${runs} runs, shown is the median and in brackets the least and the most.`,
  );
  if (load.compacted > 0) {
    out.line(`Of ${load.compacted} more microVMs only the end is on record: see volley retention.`);
  }
  out.line();
  const columns: Column[] = [
    { title: 'HAPPENED' },
    { title: 'REPLAYED', outcome: base },
    ...alternatives.map((outcome) => ({ title: titleOf(outcome.scenario), outcome })),
    ...(oracle ? [{ title: 'ORACLE', outcome: oracle }] : []),
  ];
  const rows = rowsOf(recorded, columns);
  out.line(
    table(
      [
        { title: '', value: ({ name }) => name },
        ...columns.map(({ title }, i) => ({
          title,
          value: ({ cells }: { cells: string[] }) => cells[i],
          align: 'right' as const,
        })),
      ],
      rows,
    ),
  );
}

function rowsOf(recorded: WhatIfReport['recorded'], columns: readonly Column[]): { name: string; cells: string[] }[] {
  const row = (name: string, happened: string, pick: (outcome: WhatIfOutcome) => string) => ({
    name,
    cells: columns.map(({ outcome }) => (outcome ? pick(outcome) : happened)),
  });
  const outcomes = columns.flatMap(({ outcome }) => outcome ?? []);
  const reasons = [...new Set(outcomes.flatMap((one) => Object.keys(one.reasons)))].sort();
  const tenants = [...new Set(outcomes.flatMap((one) => Object.keys(one.tenants)))].sort();
  return [
    row('hosts', '', ({ hosts }) => String(hosts)),
    row('asked', String(recorded.asked), ({ asked }) => spread(asked)),
    row('placed', String(recorded.placed), ({ placed }) => spread(placed)),
    row('refused', String(recorded.refused), ({ refused }) => spread(refused)),
    ...reasons.map((reason) => row(`  for ${reason}`, '', (one) => spread(one.reasons[reason] ?? NOTHING))),
    ...tenants.map((tenant) =>
      row(`  of ${printable(tenant)}`, '', (one) => spread(one.tenants[tenant]?.refused ?? NOTHING)),
    ),
    row('unanswered', String(recorded.unanswered), ({ unanswered }) => spread(unanswered)),
    row('never came', '', ({ neverCame }) => spread(neverCame)),
    row('wait p50', duration(recorded.waitMs.p50), ({ waitMs }) => spread(waitMs.p50, duration)),
    row('wait p99', duration(recorded.waitMs.p99), ({ waitMs }) => spread(waitMs.p99, duration)),
    row('most microVMs', '', ({ peak }) => spread(peak.microvms)),
    row('most vCPUs', '', ({ peak }) => spread(peak.vcpus)),
    row('most memory', '', ({ peak }) => spread(peak.memoryMiB, mebibytes)),
    row('CPU ratio', '', ({ peak }) => spread(peak.cpuRatio)),
    row('memory ratio', '', ({ peak }) => spread(peak.memoryRatio)),
    row('fewest hosts', '', ({ fewestHosts }) => (fewestHosts === null ? '-' : String(fewestHosts))),
    ...(outcomes.some(({ contention }) => contention)
      ? CONTENTION.map(([name, pick, show]) =>
          row(name, '', ({ contention }) => (contention ? spread(pick(contention), show) : '-')),
        )
      : []),
  ];
}

const percent = (share: number): string => `${Math.round(share * 10_000) / 100} %`;
const times = (ratio: number): string => `x${Math.round(ratio * 100) / 100}`;

const CONTENTION: readonly [string, (of: WhatIfContention) => Spread, (value: number) => string][] = [
  ['CPU short, of time', ({ cpuTime }) => cpuTime, percent],
  ['CPU short, of demand', ({ cpuDemand }) => cpuDemand, percent],
  ['CPU not to be had', ({ cpuUnserved }) => cpuUnserved, percent],
  ['memory short, of time', ({ memoryTime }) => memoryTime, percent],
  ['most CPU wanted', ({ peakCpu }) => peakCpu, times],
  ['most memory used', ({ peakMemory }) => peakMemory, times],
  ['usage not known', ({ unmeasured }) => unmeasured, percent],
];

const NOTHING: Spread = { min: 0, median: 0, max: 0 };

/** The median, and the least and the most where they are others. */
function spread({ min, median, max }: Spread, show: (value: number) => string = String): string {
  return min === max ? show(median) : `${show(median)} (${show(min)}..${show(max)})`;
}

function titleOf({ memoryRatio, cpuRatio, hosts }: WhatIfScenario): string {
  const words = [
    ...(memoryRatio === undefined ? [] : [`memory x${memoryRatio}`]),
    ...(cpuRatio === undefined ? [] : [`CPU x${cpuRatio}`]),
    ...(hosts === undefined
      ? []
      : [typeof hosts === 'number' ? `${hosts} hosts` : Object.entries(hosts).flat().join('=')]),
  ];
  return words.join(', ') || 'UNCHANGED';
}

function ratio(text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new InvalidArgumentError('must be a number above 0.');
  return value;
}

function hostsOption(text: string): WhatIfScenario['hosts'] {
  if (/^\d+$/.test(text)) return Number(text);
  const at = text.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('must be a number of hosts, or a label as key=value.');
  return { [text.slice(0, at)]: text.slice(at + 1) };
}
