import type { DensityHistory, DensityReport, MicrovmDensity, TenantUsage } from '#protocol';
import { bytesText, clock, duration, mebibytes } from '../output/quantities';
import { table } from '../output/table';

interface Fact {
  name: string;
  value: string | null;
}

const facts = (rows: Fact[]): string =>
  table<Fact>(
    [
      { title: '', value: ({ name }) => name },
      { title: '', value: ({ value }) => value, align: 'right' },
    ],
    rows,
  );

const size = (kib: number): string => bytesText(kib * 1024);
const cores = (value: number): string => `${value.toFixed(2)} cores`;
const spoken = (field: string): string =>
  field.replace(/(KiB|Cores)$/, '').replace(/[A-Z]/g, (c) => ` ${c.toLowerCase()}`);

/** The parts of a host, and what follows from them. */
export function hostDensityText(report: DensityReport): string {
  const { memory, cpu, marginalCost, fits, exhaustion } = report;
  const parts = (of: object | null | undefined, unit: (value: number) => string): Fact[] =>
    Object.entries(of ?? {}).map(([name, value]: [string, number]) => ({ name: spoken(name), value: unit(value) }));
  const cost = marginalCost
    ? `${size(marginalCost.kib)}${marginalCost.errorKiB === null ? '' : ` +/- ${size(marginalCost.errorKiB)}`} (${marginalCost.method})`
    : 'not known yet';
  return [
    'MEMORY',
    facts(parts(memory, size)),
    'CPU',
    facts(parts(cpu, cores)),
    'NEXT MICROVM',
    facts([
      { name: 'costs', value: cost },
      ...(fits ? [{ name: 'fits', value: `${fits.microvms} more, bound by ${spoken(fits.binding)}` }] : []),
      {
        name: 'memory used up',
        value: exhaustion
          ? `in ${duration(exhaustion.seconds * 1_000)} (${duration(exhaustion.soonestSeconds * 1_000)} to ${duration(exhaustion.latestSeconds * 1_000)})`
          : 'no trend',
      },
    ]),
  ].join('\n');
}

export function tenantDensityText({ tenant, microvms, commitment, used }: TenantUsage): string {
  return facts([
    { name: 'tenant', value: tenant },
    { name: 'microVMs', value: String(microvms) },
    { name: 'promised', value: `${commitment.vcpus} vCPU, ${mebibytes(commitment.memoryMiB)}` },
    { name: 'resident', value: size(used.residentKiB) },
    { name: 'proportional', value: size(used.proportionalKiB) },
    { name: 'shared', value: size(used.sharedKiB) },
    { name: 'CPU', value: cores(used.cpuCores) },
  ]);
}

export function microvmDensityText({ promised, memory, overhead, cpu, hints }: MicrovmDensity): string {
  return facts([
    { name: 'promised', value: `${promised.vcpus} vCPU, ${mebibytes(promised.memoryMiB)}` },
    { name: 'resident', value: size(memory.residentKiB) },
    { name: 'proportional', value: size(memory.proportionalKiB) },
    { name: 'private', value: size(memory.privateKiB) },
    { name: 'guest', value: size(memory.guestKiB) },
    { name: `shared${memory.sharedWith === null ? '' : ` with ${memory.sharedWith}`}`, value: size(memory.sharedKiB) },
    { name: 'VMM', value: size(overhead.vmmKiB) },
    { name: 'page tables', value: size(overhead.pageTablesKiB) },
    { name: 'kernel, all', value: overhead.kernelKiB === null ? 'not counted here' : size(overhead.kernelKiB) },
    { name: 'CPU', value: cores(cpu.cores) },
    { name: 'vCPU wait', value: `${cpu.vcpuWaitPercent.toFixed(1)} %` },
    { name: 'throttled', value: cpu.throttled ? duration(cpu.throttled.ms) : 'no limit' },
    ...(hints.balloonedKiB === null ? [] : [{ name: 'ballooned, as the guest says', value: size(hints.balloonedKiB) }]),
  ]);
}

/** One line per step: the mean, and the worst where that matters. */
export function historyText({ points, stepMs }: DensityHistory): string {
  if (points.length === 0) return 'Nothing is known of that time.';
  type Point = DensityHistory['points'][number];
  const mean = ({ figures }: Point, name: keyof Point['figures'], digits: number): string | null =>
    figures[name]?.mean.toFixed(digits) ?? null;
  return `${table<Point>(
    [
      { title: 'STEP', value: ({ at }) => clock(at).slice(0, 19) },
      { title: 'MICROVMS', value: (point) => mean(point, 'microvms', 0), align: 'right' },
      { title: 'PROMISED MIB', value: (point) => mean(point, 'committedMemoryMiB', 0), align: 'right' },
      { title: 'USED MIB', value: (point) => mean(point, 'proportionalMiB', 0), align: 'right' },
      { title: 'HOST USED MIB', value: (point) => mean(point, 'hostUsedMiB', 0), align: 'right' },
      { title: 'CORES', value: (point) => mean(point, 'cpuCores', 2), align: 'right' },
      {
        title: 'WORST VCPU WAIT %',
        value: ({ figures }) => figures.vcpuWaitP99Percent?.max.toFixed(1) ?? null,
        align: 'right',
      },
      { title: 'COST KIB', value: (point) => mean(point, 'marginalCostKiB', 0), align: 'right' },
      { title: 'FITS', value: (point) => mean(point, 'fits', 0), align: 'right' },
    ],
    points,
  )}\nMeans of steps of ${duration(stepMs)}.`;
}
