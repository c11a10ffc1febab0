import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { LaunchSpec, MicrovmDriver, MicrovmProcess, Shell, ShellSpec, SnapshotReport } from '#microvm';
import { repositoryRoot } from '../repository-root';
import { inFlight } from './in-flight';

const NS_PER_MS = 1e6;
const WORD_MS = 120_000;

export interface CanaryFiles {
  vmm: string;
  canary: string;
  /** On tmpfs. */
  scratch: string;
}

export function canaryFiles(): CanaryFiles {
  const built = join(repositoryRoot(), 'native/build');
  return {
    vmm: join(built, 'vmm/volley-vmm'),
    canary: join(built, 'guest/canary.bin'),
    scratch: existsSync('/dev/shm') ? '/dev/shm' : tmpdir(),
  };
}

/** Canaries of one measurement on this host, without a fleet. Who makes it ends it. */
export class CanaryStage {
  readonly alive: MicrovmProcess[] = [];
  #count = 0;

  /** `signal`: nothing new is begun once it aborts. */
  constructor(
    private readonly driver: MicrovmDriver,
    private readonly files: CanaryFiles,
    private readonly scratch: string,
    private readonly memoryMiB: number,
    private readonly signal: AbortSignal,
  ) {}

  async spec(changes: Partial<LaunchSpec>): Promise<LaunchSpec> {
    const id = `canary-${++this.#count}`;
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
    await inFlight(count, 2, this.signal, async (index) => {
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
    this.signal.throwIfAborted();
    const called = process.hrtime.bigint();
    const launched = await this.driver.launch(spec, shell);
    this.alive.push(launched);
    const ready = await launched.booted;
    return { process: launched, ms: Number(ready - called) / NS_PER_MS };
  }

  /** A canary that has done the first thing that its words ask for. */
  async start(cmdline: string, word: string): Promise<MicrovmProcess> {
    const { process } = await this.time(await this.spec({ cmdline }));
    await this.says(process, word);
    return process;
  }

  async makeTemplate(directory: string, cmdline: string): Promise<SnapshotReport> {
    const original = await this.start(cmdline, 'touched');
    const report = await original.snapshot(directory);
    original.kill();
    await original.exited;
    return report;
  }

  async says(canary: MicrovmProcess, words: string): Promise<void> {
    for (const end = performance.now() + WORD_MS; !canary.serial().text.includes(words);) {
      this.signal.throwIfAborted();
      if (performance.now() > end) throw new Error(`the canary did not say "${words}" in time`);
      await pause(5);
    }
  }
}

const shellSpec = (): ShellSpec => ({
  barriers: ['capabilities', 'rlimits', 'seccomp'],
  uid: process.getuid!(),
  gid: process.getgid!(),
  openFiles: 256,
  fileBytes: Number.MAX_SAFE_INTEGER,
});
