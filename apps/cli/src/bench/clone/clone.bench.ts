import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import {
  createMicrovmDriver,
  type LaunchSpec,
  type MicrovmDriver,
  type MicrovmProcess,
  type MicrovmStats,
  type Shell,
  type ShellSpec,
  type SnapshotReport,
} from '#microvm';
import { inFlight } from '../in-flight';
import { distribution, type Distribution } from '../percentiles';
import { cloneWindows, type CloneWindow } from './clone-windows';

export interface CloneParameters {
  count: number;
  /** Clones being started at any time. */
  concurrency: number;
  memoryMiB: number;
  /** What the template's guest has touched. */
  touchMiB: number;
  /** Whether a shell waits for each clone. Without, a process is made and jailed as part of the clone. */
  shells: boolean;
  /** Cold starts of the same guest, to compare with. */
  coldStarts: number;
}

export interface CloneBenchFiles {
  vmm: string;
  canary: string;
  /** On tmpfs. */
  scratch: string;
}

export interface CloneResult {
  template: SnapshotReport;
  running: number;
  failed: number;
  failures: Record<string, number>;
  clonesPerSecond: number;
  /** ms by phase; `ready`: from the call that launches to the guest's word that it knows its new identity. */
  phases: Record<string, Distribution | null>;
  /** `ready` of as many in a row as make twenty windows, in the order in which they became ready. */
  windows: CloneWindow[];
  /** ms from the call that launches to the boot timer, of the same guest without memory touched. */
  coldStart: Distribution | null;
  /** All clones alive at once: idle after they became ready, and of a template whose clones read all that it has touched. */
  memory: { idle: CloneMemory; reading: CloneMemory };
}

/** Sums over the VMM processes, guest memory included, MiB. */
export interface CloneMemory {
  rssMiB: number;
  pssMiB: number;
  /** What is left of the sum when what is shared counts once. */
  pssOfRss: number;
  privateKiBEach: number;
}

const NS_PER_MS = 1e6;
const WORD_MS = 120_000;
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

/** Makes a template of a canary, starts clones of it, and measures; leaves nothing behind. */
export async function benchClone(
  parameters: CloneParameters,
  files: CloneBenchFiles,
  progress: (text: string) => void,
): Promise<CloneResult> {
  const scratch = await mkdtemp(join(files.scratch, 'volley-bench-clone-'));
  const driver = createMicrovmDriver({ vmmPath: files.vmm });
  const stage = new Stage(driver, files, scratch, parameters.memoryMiB);
  try {
    progress('making the template');
    const template = join(scratch, 'template');
    const report = await stage.makeTemplate(template, `touch=${parameters.touchMiB}`);
    const coldStart = await measureColdStarts(stage, parameters);
    const failures: Record<string, number> = {};
    const readyMs: number[] = [];
    const clones: MicrovmProcess[] = [];
    const shells = parameters.shells ? await stage.shells(parameters.count) : [];
    progress(`starting ${parameters.count} clones`);
    const began = performance.now();
    await inFlight(parameters.count, parameters.concurrency, new AbortController().signal, async (index) => {
      try {
        const spec = await stage.spec({ restore: { directory: template } });
        const { process, ms } = await stage.time(spec, shells[index]);
        clones.push(process);
        readyMs.push(ms);
      } catch (error) {
        const reason = (error as Error).message.replace(/\bclone-\d+\b/g, 'ID');
        failures[reason] = (failures[reason] ?? 0) + 1;
      }
    });
    const wallMs = performance.now() - began;
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
      phases,
      windows: cloneWindows(readyMs, Math.ceil(parameters.count / WINDOWS)),
      coldStart,
      memory: { idle: await memoryOf(clones), reading: await measureReading(stage, parameters, scratch) },
    };
  } finally {
    await stage.end();
    driver.close();
    await rm(scratch, { recursive: true, force: true });
  }
}

/** Half of them count: the first ones find everything cold. */
async function measureColdStarts(stage: Stage, { coldStarts, concurrency, shells }: CloneParameters) {
  const waiting = shells ? await stage.shells(coldStarts) : [];
  const times: number[] = [];
  await inFlight(coldStarts, concurrency, new AbortController().signal, async (index) => {
    const { process, ms } = await stage.time(await stage.spec({}), waiting[index]);
    times.push(ms);
    process.kill();
    await process.exited;
  });
  return distribution(times.slice(Math.floor(coldStarts / 2))) ?? null;
}

async function measureReading(stage: Stage, parameters: CloneParameters, scratch: string): Promise<CloneMemory> {
  await stage.end();
  const directory = join(scratch, 'reading');
  await stage.makeTemplate(directory, `touch=${parameters.touchMiB} recheck`);
  const clones: MicrovmProcess[] = [];
  await inFlight(parameters.count, parameters.concurrency, new AbortController().signal, async () => {
    const { process } = await stage.time(await stage.spec({ restore: { directory } }));
    await says(process, 'MiB intact');
    clones.push(process);
  });
  return memoryOf(clones);
}

class Stage {
  readonly alive: MicrovmProcess[] = [];
  #count = 0;

  constructor(
    private readonly driver: MicrovmDriver,
    private readonly files: CloneBenchFiles,
    private readonly scratch: string,
    private readonly memoryMiB: number,
  ) {}

  async spec(changes: Partial<LaunchSpec>): Promise<LaunchSpec> {
    const id = `clone-${++this.#count}`;
    const directory = join(this.scratch, id);
    await mkdir(directory);
    return {
      ...{
        id,
        directory,
        bootProtocol: 'flat',
        irqchip: 'split',
        vcpus: 1,
        memoryMiB: this.memoryMiB,
        cmdline: 'quiet',
      },
      ...(changes.restore ? {} : { kernelPath: this.files.canary }),
      ...changes,
    };
  }

  async shells(count: number): Promise<Shell[]> {
    const shells: Shell[] = [];
    await inFlight(count, 2, new AbortController().signal, async (index) => {
      shells[index] = await this.driver.prepare(shellSpec());
    });
    return shells;
  }

  /** Ends all that runs. */
  async end(): Promise<void> {
    const ending = this.alive.splice(0);
    for (const process of ending) process.kill();
    await Promise.all(ending.map(({ exited }) => exited));
    for (const process of ending) process.release();
  }

  /** From the call to the guest's boot-timer write, both by CLOCK_MONOTONIC. */
  async time(spec: LaunchSpec, shell?: Shell): Promise<{ process: MicrovmProcess; ms: number }> {
    const called = process.hrtime.bigint();
    const launched = await this.driver.launch(spec, shell);
    this.alive.push(launched);
    const ready = await launched.booted;
    return { process: launched, ms: Number(ready - called) / NS_PER_MS };
  }

  async makeTemplate(directory: string, cmdline: string): Promise<SnapshotReport> {
    const spec = await this.spec({ cmdline });
    const original = await this.driver.launch(spec);
    this.alive.push(original);
    await original.booted;
    await says(original, 'touched');
    const report = await original.snapshot(directory);
    original.kill();
    await original.exited;
    return report;
  }
}

const shellSpec = (): ShellSpec => ({
  barriers: ['capabilities', 'rlimits', 'seccomp'],
  uid: process.getuid!(),
  gid: process.getgid!(),
  openFiles: 256,
  fileBytes: Number.MAX_SAFE_INTEGER,
});

async function says(canary: MicrovmProcess, words: string): Promise<void> {
  for (const end = performance.now() + WORD_MS; !canary.serial().text.includes(words);) {
    if (performance.now() > end) throw new Error(`the canary did not say "${words}" in time`);
    await pause(5);
  }
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
