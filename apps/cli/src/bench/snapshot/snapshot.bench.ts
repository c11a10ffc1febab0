import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { createMicrovmDriver, type SnapshotReport } from '#microvm';
import { CanaryStage, type CanaryFiles } from '../canary-stage';
import type { UncachedStarts } from '../uncached-starts';
import { distribution, type Distribution } from '../percentiles';
import { measureColdResumes } from './cold-resumes';

export interface SnapshotParameters {
  memoryMiB: number;
  /** What the guest has touched, and writes to again and again. */
  touchMiB: number;
  /** At how many MiB/s it does; 0: not at all. Each is measured. */
  ratesMiB: number[];
  /** Snapshots of each kind at each rate. */
  repeats: number;
  /** Where snapshots are written; by default on tmpfs. */
  directory: string | undefined;
  /** On a disk; undefined: resumes of what is not in the page cache are not measured. */
  coldDirectory: string | undefined;
}

export interface SnapshotResult {
  rates: RateResult[];
  /** Of one that is suspended for the second time. */
  coldResumes: UncachedStarts | null;
}

/** Of all snapshots of one kind at one rate. */
export interface SnapshotTimes {
  /** For how long the guest stood still, ms. */
  pauseMs: Distribution | null;
  /** From the order to the last byte, ms. */
  totalMs: Distribution | null;
  /** Of the one with the longest pause. */
  longest: SnapshotReport;
  /** How many were stopped although they wrote as fast as could be copied. */
  notConverged: number;
}

export interface RateResult {
  rateMiB: number;
  whole: SnapshotTimes;
  live: SnapshotTimes;
  /** Median pause of `whole` by that of `live`. */
  shorterBy: number;
}

const COLD_RESUMES = 25;
const NS_PER_MS = 1e6;

/**
 * Snapshots of a canary that writes to its memory, standing still for all of it and live, in turn. The last live one at each rate is
 * restored, and its guest finds its memory as of one instant. Leaves nothing behind, also when `signal` aborts it.
 */
export async function benchSnapshot(
  parameters: SnapshotParameters,
  files: CanaryFiles,
  signal: AbortSignal,
  progress: (text: string) => void,
): Promise<SnapshotResult> {
  const scratch = await mkdtemp(join(files.scratch, 'volley-bench-snapshot-'));
  const written = parameters.directory === undefined ? scratch : await mkdtemp(join(parameters.directory, 'volley-'));
  const driver = createMicrovmDriver({ vmmPath: files.vmm });
  const stage = new CanaryStage(driver, files, scratch, parameters.memoryMiB, signal);
  try {
    const results: RateResult[] = [];
    for (const rateMiB of parameters.ratesMiB) {
      progress(`a guest that writes ${rateMiB} MiB/s`);
      results.push(await measureRate(stage, parameters, rateMiB, join(written, 'snapshot'), signal));
    }
    const { coldDirectory, touchMiB } = parameters;
    if (coldDirectory === undefined) return { rates: results, coldResumes: null };
    progress('resumes of what is not in the page cache');
    return { rates: results, coldResumes: await measureColdResumes(stage, coldDirectory, touchMiB, COLD_RESUMES) };
  } finally {
    await stage.end();
    driver.close();
    for (const folder of [scratch, written]) await rm(folder, { recursive: true, force: true });
  }
}

async function measureRate(
  stage: CanaryStage,
  { touchMiB, repeats }: SnapshotParameters,
  rateMiB: number,
  directory: string,
  signal: AbortSignal,
): Promise<RateResult> {
  const words = `touch=${touchMiB} recheck${rateMiB === 0 ? '' : ` stir=${rateMiB}`}`;
  const guest = await stage.start(words, 'touched');
  const reports = { whole: [] as SnapshotReport[], live: [] as SnapshotReport[] };
  for (let index = 0; index < repeats; index++) {
    for (const kind of ['whole', 'live'] as const) {
      signal.throwIfAborted();
      reports[kind].push(await guest.snapshot(directory, { live: kind === 'live' }));
    }
  }
  const { process } = await stage.time(await stage.spec({ restore: { directory } }));
  await stage.says(process, 'MiB intact');
  await stage.end();
  const [whole, live] = [timesOf(reports.whole), timesOf(reports.live)];
  const shorterBy = live.pauseMs && whole.pauseMs ? Math.round((whole.pauseMs.p50 / live.pauseMs.p50) * 10) / 10 : 0;
  return { rateMiB, whole, live, shorterBy };
}

function timesOf(reports: readonly SnapshotReport[]): SnapshotTimes {
  const longest = reports.reduce((one, other) => (other.pauseNs > one.pauseNs ? other : one));
  return {
    pauseMs: distribution(reports.map(({ pauseNs }) => pauseNs / NS_PER_MS)) ?? null,
    totalMs: distribution(reports.map(({ totalNs }) => totalNs / NS_PER_MS)) ?? null,
    longest,
    notConverged: reports.filter(({ copy }) => !copy.converged).length,
  };
}
