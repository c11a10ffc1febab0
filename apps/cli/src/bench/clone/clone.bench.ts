import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { createMicrovmDriver, type MicrovmProcess, type MicrovmStats, type SnapshotReport } from '#microvm';
import { CanaryStage, type CanaryFiles } from '../canary-stage';
import { inFlight } from '../in-flight';
import { distribution, type Distribution } from '../percentiles';
import { cloneWindows, type CloneWindow } from './clone-windows';
import type { UncachedStarts } from '../uncached-starts';
import { measureColdClones } from './cold-clones';

export interface CloneParameters {
  count: number;
  /** Clones being started at any time. */
  concurrency: number;
  memoryMiB: number;
  /** What the template's guest has touched. */
  touchMiB: number;
  /** Whether a shell waits for each clone. Without, a process is made and jailed as part of the clone. */
  shells: boolean;
  /** Whether these are primed with the template, as those of a pool are. */
  primed: boolean;
  /** Cold starts of the same guest, to compare with. */
  coldStarts: number;
  /** On a disk; undefined: clones of what is not in the page cache are not measured. */
  coldDirectory: string | undefined;
}

export interface CloneResult {
  template: SnapshotReport;
  running: number;
  failed: number;
  failures: Record<string, number>;
  clonesPerSecond: number;
  /** ms that priming a shell took; null: none was. */
  prime: Distribution | null;
  /** ms by phase; `ready`: from the call that launches to the guest's word that it knows its new identity. */
  phases: Record<string, Distribution | null>;
  /** `ready` of as many in a row as make twenty windows, in the order in which they became ready. */
  windows: CloneWindow[];
  /** ms from the call that launches to the boot timer, of the same guest without memory touched. */
  coldStart: Distribution | null;
  /** All clones alive at once: idle after they became ready, and of a template whose clones read all that it has touched. */
  memory: { idle: CloneMemory; reading: CloneMemory };
  cold: UncachedStarts | null;
}

/** Sums over the VMM processes, guest memory included, MiB. */
export interface CloneMemory {
  rssMiB: number;
  pssMiB: number;
  /** What is left of the sum when what is shared counts once. */
  pssOfRss: number;
  privateKiBEach: number;
}

const COLD_CLONES = 20;
const NS_PER_MS = 1e6;
const WINDOWS = 20;

const PHASES: readonly [name: string, from: keyof MicrovmStats, to: keyof MicrovmStats][] = [
  ['hand-over', 'launchedNs', 'enteredNs'],
  ['vm', 'enteredNs', 'vmCreatedNs'],
  ['memory', 'vmCreatedNs', 'memoryNs'],
  ['devices', 'memoryNs', 'loadedNs'],
  ['state', 'loadedNs', 'vcpusNs'],
  ['threads', 'vcpusNs', 'runNs'],
  ['guest', 'runNs', 'bootedNs'],
];

/** Makes a template of a canary, starts clones of it, and measures; leaves nothing behind, also when `signal` aborts it (it rejects then). */
export async function benchClone(
  parameters: CloneParameters,
  files: CanaryFiles,
  signal: AbortSignal,
  progress: (text: string) => void,
): Promise<CloneResult> {
  const scratch = await mkdtemp(join(files.scratch, 'volley-bench-clone-'));
  const driver = createMicrovmDriver({ vmmPath: files.vmm });
  const stage = new CanaryStage(driver, files, scratch, parameters.memoryMiB, signal);
  try {
    progress('making the template');
    const template = join(scratch, 'template');
    const report = await stage.makeTemplate(template, `touch=${parameters.touchMiB}`);
    const coldStart = await measureColdStarts(stage, parameters, signal);
    const failures: Record<string, number> = {};
    const readyMs: number[] = [];
    const clones: MicrovmProcess[] = [];
    const shells = parameters.shells ? await stage.shells(parameters.count) : [];
    const primeMs: number[] = [];
    for (const shell of parameters.primed ? shells : []) {
      const called = performance.now();
      await driver.prime(shell, template);
      primeMs.push(performance.now() - called);
    }
    progress(`starting ${parameters.count} clones`);
    const began = performance.now();
    await inFlight(parameters.count, parameters.concurrency, signal, async (index) => {
      try {
        const spec = await stage.spec({ restore: { directory: template } });
        const { process, ms } = await stage.time(spec, shells[index]);
        clones.push(process);
        readyMs.push(ms);
      } catch (error) {
        const reason = (error as Error).message.replace(/\bcanary-\d+\b/g, 'ID');
        failures[reason] = (failures[reason] ?? 0) + 1;
      }
    });
    const wallMs = performance.now() - began;
    signal.throwIfAborted();
    progress('measuring their memory');
    const stats = clones.map((process) => process.stats());
    const phases: CloneResult['phases'] = { ready: distribution(readyMs) ?? null };
    for (const [name, from, to] of PHASES) {
      phases[name] =
        distribution(stats.map((one) => Number((one[to] as bigint) - (one[from] as bigint)) / NS_PER_MS)) ?? null;
    }
    return {
      template: report,
      running: clones.length,
      failed: parameters.count - clones.length,
      failures,
      clonesPerSecond: Math.round((clones.length / wallMs) * 1_000),
      prime: distribution(primeMs) ?? null,
      phases,
      windows: cloneWindows(readyMs, Math.ceil(parameters.count / WINDOWS)),
      coldStart,
      memory: { idle: await memoryOf(clones), reading: await measureReading(stage, parameters, scratch, signal) },
      cold: await measureCold(stage, parameters, progress),
    };
  } finally {
    await stage.end();
    driver.close();
    await rm(scratch, { recursive: true, force: true });
  }
}

async function measureCold(
  stage: CanaryStage,
  { coldDirectory, touchMiB }: CloneParameters,
  progress: (text: string) => void,
): Promise<UncachedStarts | null> {
  if (coldDirectory === undefined) return null;
  await stage.end();
  progress('cloning what is not in the page cache');
  return measureColdClones(stage, coldDirectory, touchMiB, COLD_CLONES);
}

/** Half of them count: the first ones find everything cold. */
async function measureColdStarts(
  stage: CanaryStage,
  { coldStarts, concurrency, shells }: CloneParameters,
  signal: AbortSignal,
) {
  const waiting = shells ? await stage.shells(coldStarts) : [];
  const times: number[] = [];
  await inFlight(coldStarts, concurrency, signal, async (index) => {
    const { process, ms } = await stage.time(await stage.spec({}), waiting[index]);
    times.push(ms);
    process.kill();
    await process.exited;
  });
  return distribution(times.slice(Math.floor(coldStarts / 2))) ?? null;
}

async function measureReading(
  stage: CanaryStage,
  parameters: CloneParameters,
  scratch: string,
  signal: AbortSignal,
): Promise<CloneMemory> {
  await stage.end();
  const directory = join(scratch, 'reading');
  await stage.makeTemplate(directory, `touch=${parameters.touchMiB} recheck`);
  const clones: MicrovmProcess[] = [];
  await inFlight(parameters.count, parameters.concurrency, signal, async () => {
    const { process } = await stage.time(await stage.spec({ restore: { directory } }));
    await stage.says(process, 'MiB intact');
    clones.push(process);
  });
  return memoryOf(clones);
}

async function memoryOf(clones: readonly MicrovmProcess[]): Promise<CloneMemory> {
  let [rss, pss, unshared] = [0, 0, 0];
  for (const { identity } of clones) {
    const text = await readFile(`/proc/${identity.pid}/smaps_rollup`, 'latin1');
    const field = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(text)?.[1] ?? 0);
    rss += field('Rss');
    pss += field('Pss');
    unshared += field('Private_Clean') + field('Private_Dirty');
  }
  return {
    rssMiB: Math.round(rss / 1_024),
    pssMiB: Math.round(pss / 1_024),
    pssOfRss: rss === 0 ? 0 : Math.round((pss / rss) * 10_000) / 10_000,
    privateKiBEach: clones.length === 0 ? 0 : Math.round(unshared / clones.length),
  };
}
