import type { Spread, WhatIfContention, WhatIfOutcome, WhatIfReport, WhatIfScenario } from '#protocol';
import type { Output } from '../output/output';
import { clock, duration, mebibytes } from '../output/quantities';
import { printable, table } from '../output/table';

/** A column of the comparison: what happened, or what came out of the runs of one scenario. */
type Column = { title: string; outcome?: WhatIfOutcome };

/** What happened beside what would have; a trace tells of nothing that `happened` on these hosts. */
export function showWhatIf(out: Output, report: WhatIfReport, { happened = true } = {}): void {
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
    ...(happened ? [{ title: 'HAPPENED' }] : []),
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
  ['evictions at most', ({ evictions }) => evictions, String],
  ['usage not known', ({ unmeasured }) => unmeasured, percent],
];

const NOTHING: Spread = { min: 0, median: 0, max: 0 };

/** The median, and the least and the most where they are others. */
function spread({ min, median, max }: Spread, show: (value: number) => string = String): string {
  return min === max ? show(median) : `${show(median)} (${show(min)}..${show(max)})`;
}

function titleOf({ memoryRatio, cpuRatio, hosts, policy }: WhatIfScenario): string {
  const words = [
    ...(policy === undefined ? [] : [policy.kind]),
    ...(memoryRatio === undefined ? [] : [`memory x${memoryRatio}`]),
    ...(cpuRatio === undefined ? [] : [`CPU x${cpuRatio}`]),
    ...(hosts === undefined
      ? []
      : [typeof hosts === 'number' ? `${hosts} hosts` : Object.entries(hosts).flat().join('=')]),
  ];
  return words.join(', ') || 'UNCHANGED';
}
