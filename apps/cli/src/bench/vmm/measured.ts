import { gunzipSync } from 'node:zlib';
import { CliError } from '../../errors';

/** What one guest measured. Latencies in microseconds. */
export interface Figure {
  bytesPerSecond?: number;
  operationsPerSecond?: number;
  /** Where no more is known. */
  mean?: number;
  p50?: number;
  p99?: number;
  max?: number;
  /** Of UDP, in percent of what was sent. */
  lostPercent?: number;
  /** Of one idle microVM: what the host has less, and what its processes hold by their share and for themselves alone. */
  hostKiB?: number;
  proportionalKiB?: number;
  privateKiB?: number;
}
/** Figures by what was measured. */
export type Figures = Record<string, Figure>;

/** Thrown when the console of a guest does not hold what it was to measure. Carries its end. */
export class NoResultError extends CliError {
  constructor(what: string, console: string) {
    super(`${what}; the end of the guest's console:\n${console.slice(-1_500)}`);
  }
}

/** A text that a guest has sent over its serial console, packed. @throws NoResultError */
export function resultText(console: string, name: string): string {
  const match = new RegExp(`result ${name} begins\\s([^]*?)result ${name} ends`).exec(console);
  if (!match) throw new NoResultError(`the guest gave no ${name}`, console);
  try {
    return gunzipSync(Buffer.from(match[1]!.replace(/\s/g, ''), 'base64')).toString('utf8');
  } catch {
    throw new NoResultError(`what the guest gave as ${name} is damaged`, console);
  }
}

interface FioSide {
  bw_bytes: number;
  iops: number;
  total_ios: number;
  clat_ns: { max: number; percentile?: Record<string, number> };
}
interface FioJob {
  jobname: string;
  read: FioSide;
  write: FioSide;
  sync: { total_ios?: number; lat_ns: { max: number; percentile?: Record<string, number> } };
}

/** The figures in fio's JSON. Of the job `flush` the latency is that of the flush. */
export function fioFigures(text: string): Figures {
  // Warnings may stand before it.
  const { jobs } = JSON.parse(text.slice(text.indexOf('{'))) as { jobs: FioJob[] };
  return Object.fromEntries(
    jobs.map(({ jobname, read, write, sync }) => {
      const side = read.total_ios > 0 ? read : write;
      const latency = jobname === 'flush' ? sync.lat_ns : side.clat_ns;
      const us = (ns: number | undefined): number | undefined => (ns === undefined ? undefined : ns / 1_000);
      const figure: Figure = {
        bytesPerSecond: side.bw_bytes,
        operationsPerSecond: side.iops,
        max: latency.max / 1_000,
      };
      const p50 = us(latency.percentile?.['50.000000']);
      const p99 = us(latency.percentile?.['99.000000']);
      return [jobname, { ...figure, ...(p50 === undefined ? {} : { p50 }), ...(p99 === undefined ? {} : { p99 }) }];
    }),
  );
}

interface IperfReport {
  error?: string;
  end?: {
    sum_sent?: { bits_per_second: number };
    sum_received?: { bits_per_second: number };
    sum?: { bits_per_second: number; lost_percent: number; packets: number; seconds: number };
  };
}

/** What arrived, in iperf3's JSON. @throws NoResultError when it failed. */
export function iperfFigure(text: string): Figure {
  const { error, end } = JSON.parse(text.slice(text.indexOf('{'))) as IperfReport;
  if (error !== undefined || end === undefined) throw new NoResultError(`iperf3 failed: ${error ?? 'no end'}`, text);
  if (end.sum) {
    const arrived = 1 - end.sum.lost_percent / 100;
    return {
      bytesPerSecond: (end.sum.bits_per_second / 8) * arrived,
      operationsPerSecond: (end.sum.packets / end.sum.seconds) * arrived,
      lostPercent: end.sum.lost_percent,
    };
  }
  return { bytesPerSecond: (end.sum_received ?? end.sum_sent!).bits_per_second / 8 };
}

/** Round trips in milliseconds, one a line. */
export function pingFigure(text: string): Figure {
  const times = text
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => Number(line) * 1_000)
    .sort((a, b) => a - b);
  if (times.length === 0) throw new NoResultError('no ping came back', text);
  const rank = (percent: number): number => times[Math.max(0, Math.ceil((percent / 100) * times.length) - 1)]!;
  return { p50: rank(50), p99: rank(99), max: times.at(-1)! };
}
