import type { DensityReport, DeviceWork, Microvm, MicrovmDensity, TenantUsage } from '#protocol';
import { bytesText, duration, mebibytes } from '../output/quantities';
import type { Column } from '../output/table';

/** A column that rows can be sorted by. Numbers go down from the largest, texts up from `a`; what is not known comes last. */
export interface TopColumn<Row> extends Column<Row> {
  /** Name for `--sort`. */
  key: string;
  by: (row: Row) => number | string | null | undefined;
}

/** What is looked at, and what was there the round before, so that counters become rates. */
export interface Round<Row> {
  now: Row;
  before?: Row | undefined;
  /** Between the two, s. */
  seconds: number;
}

export type HostRow = Round<DensityReport>;
export type TenantRow = Round<TenantUsage>;
export type MicrovmRow = Round<{ microvm: Microvm; density: MicrovmDensity }>;

const kib = (value: number): string => bytesText(value * 1_024);
const cores = (value: number): string => value.toFixed(2);
const percent = (value: number): string => `${value.toFixed(1)} %`;
const known = <T>(value: T | null | undefined, told: (value: T) => string): string | null =>
  value === null || value === undefined ? null : told(value);

/** A column of numbers, told by `told`. */
function column<Row>(
  key: string,
  title: string,
  by: (row: Row) => number | null | undefined,
  told: (value: number) => string = String,
): TopColumn<Row> {
  return { key, title, by, value: (row) => known(by(row), told), align: 'right' };
}

function text<Row>(key: string, title: string, by: (row: Row) => string | null): TopColumn<Row> {
  return { key, title, by, value: by };
}

/** What a counter grew by per second; null before there are two readings, or where it began anew. */
function rate<Row>({ now, before, seconds }: Round<Row>, counter: (row: Row) => number | null): number | null {
  const [to, from] = [counter(now), before ? counter(before) : null];
  return to === null || from === null || seconds <= 0 || to < from ? null : (to - from) / seconds;
}

const bytesOf = (...works: (DeviceWork | null)[]): number | null =>
  works.every((work) => work === null)
    ? null
    : works.reduce((sum, work) => sum + (work ? work.readBytes + work.writeBytes : 0), 0);
const perSecond = (bytes: number): string => `${bytesText(bytes)}/s`;
/** Of a second, how much of it was held back. */
const heldBack = (msPerSecond: number): string => percent(msPerSecond / 10);

const gate = (open: boolean): string => (open ? 'open' : 'shut');

export const HOST_COLUMNS: readonly TopColumn<HostRow>[] = [
  text('host', 'HOST', ({ now }) => now.hostId),
  column('microvms', 'MICROVMS', ({ now }) => now.microvms),
  column('promised', 'PROMISED', ({ now }) => now.commitment.memoryMiB, mebibytes),
  column('resident', 'RESIDENT', ({ now }) => now.microvmSums?.residentKiB, kib),
  column('used', 'PROPORTIONAL', ({ now }) => now.used.memoryMiB, mebibytes),
  column('vcpus', 'VCPUS', ({ now }) => now.commitment.vcpus),
  column('cpu', 'CORES', ({ now }) => now.used.cpuCores, cores),
  column('wait', 'WAIT P99', ({ now }) => now.vcpuWaitPercent.p99, percent),
  column('throttled', 'THROTTLED', (row) => rate(row, (one) => one.microvmSums?.throttledMs ?? null), heldBack),
  column('io', 'I/O', (row) => rate(row, ({ microvmSums: s }) => (s ? bytesOf(s.disk, s.network) : null)), perSecond),
  column(
    'cpuratio',
    'CPU X',
    ({ now }) => now.overcommit.cpu,
    (x) => x.toFixed(2),
  ),
  column(
    'memoryratio',
    'MEMORY X',
    ({ now }) => now.overcommit.memory,
    (x) => x.toFixed(2),
  ),
  column('headroom', 'HEADROOM', ({ now }) => now.headroom.memoryMiB, mebibytes),
  column('cost', 'NEXT COSTS', ({ now }) => now.marginalCost?.kib, kib),
  column('fits', 'FITS', ({ now }) => now.fits?.microvms),
  column(
    'exhaustion',
    'FULL IN',
    ({ now }) => now.exhaustion?.seconds,
    (s) => duration(s * 1_000),
  ),
  text('guards', 'ADMISSION', ({ now: { guards } }) =>
    guards ? `${gate(guards.gates.guaranteed.open)}/${gate(guards.gates.bestEffort.open)}` : null,
  ),
];

export const TENANT_COLUMNS: readonly TopColumn<TenantRow>[] = [
  text('tenant', 'TENANT', ({ now }) => now.tenant),
  column('microvms', 'MICROVMS', ({ now }) => now.microvms),
  column('promised', 'PROMISED', ({ now }) => now.commitment.memoryMiB, mebibytes),
  column('resident', 'RESIDENT', ({ now }) => now.used.residentKiB, kib),
  column('used', 'PROPORTIONAL', ({ now }) => now.used.proportionalKiB, kib),
  column('shared', 'SHARED', ({ now }) => now.used.sharedKiB, kib),
  column('overhead', 'OVERHEAD', ({ now }) => now.used.overheadKiB, kib),
  column('vcpus', 'VCPUS', ({ now }) => now.commitment.vcpus),
  column('cpu', 'CORES', ({ now }) => now.used.cpuCores, cores),
  column('throttled', 'THROTTLED', (row) => rate(row, ({ used }) => used.throttledMs), heldBack),
  column('io', 'I/O', (row) => rate(row, ({ used }) => bytesOf(used.disk, used.network)), perSecond),
];

export const MICROVM_COLUMNS: readonly TopColumn<MicrovmRow>[] = [
  text('id', 'ID', ({ now }) => now.microvm.id),
  text('name', 'NAME', ({ now }) => now.microvm.name),
  text('tenant', 'TENANT', ({ now }) => now.microvm.tenant),
  text('host', 'HOST', ({ now }) => now.microvm.hostId),
  text('class', 'CLASS', ({ now }) => now.microvm.class),
  column('promised', 'PROMISED', ({ now }) => now.density.promised.memoryMiB, mebibytes),
  column('resident', 'RESIDENT', ({ now }) => now.density.memory.residentKiB, kib),
  column('used', 'PROPORTIONAL', ({ now }) => now.density.memory.proportionalKiB, kib),
  column('overhead', 'VMM', ({ now }) => now.density.overhead.vmmKiB, kib),
  column('vcpus', 'VCPUS', ({ now }) => now.density.promised.vcpus),
  column('cpu', 'CORES', ({ now }) => now.density.cpu.cores, cores),
  column('wait', 'WAIT', ({ now }) => now.density.cpu.vcpuWaitPercent, percent),
  column('throttled', 'THROTTLED', (row) => rate(row, ({ density }) => density.cpu.throttled?.ms ?? null), heldBack),
  column('io', 'I/O', (row) => rate(row, ({ density: d }) => bytesOf(d.disk, d.network)), perSecond),
];

/** Rows by a column: the most first, names from `a`; `reverse` the other way round. What is not known is always last. */
export function sorted<Row>(rows: readonly Row[], { by }: TopColumn<Row>, reverse: boolean): Row[] {
  const sign = reverse ? -1 : 1;
  return [...rows].sort((a, b) => {
    const [one, other] = [by(a) ?? null, by(b) ?? null];
    if (one === null || other === null) return Number(one === null) - Number(other === null);
    if (typeof one === 'number' && typeof other === 'number') return sign * (other - one);
    return sign * (String(one) < String(other) ? -1 : String(one) > String(other) ? 1 : 0);
  });
}
