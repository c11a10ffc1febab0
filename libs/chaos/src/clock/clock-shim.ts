import { execFileSync, spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';

const COMPILERS = ['cc', 'gcc', 'clang'];

/** Why {@link ClockShim.build} cannot work here, if so. */
export function clockShimMissing(): string | undefined {
  return compiler() === undefined ? 'no C compiler (Debian package gcc)' : undefined;
}

const compiler = (): string | undefined =>
  COMPILERS.find((name) => spawnSync(name, ['--version'], { stdio: 'ignore' }).status === 0);

/** Moves the wall clocks of single processes while they run, each by itself. Monotonic clocks go on as they did. */
export class ClockShim {
  private constructor(
    private readonly folder: string,
    private readonly library: string,
  ) {}

  /** Compiles the shim from the checkout at `root` and makes a clock for each of the named processes of a supervisor. */
  static build(root: string, folder: string, names: readonly string[]): ClockShim {
    const clocks = join(folder, 'clocks');
    const library = join(folder, 'clock-shim.so');
    mkdirSync(clocks, { recursive: true });
    execFileSync(
      compiler() ?? COMPILERS[0]!,
      ['-shared', '-fPIC', '-O2', '-o', library, join(root, 'libs/chaos/src/clock/clock-shim.c'), '-ldl'],
      { stdio: 'pipe', timeout: 30_000 },
    );
    const shim = new ClockShim(clocks, library);
    for (const name of names) writeFileSync(join(clocks, name), Buffer.alloc(8));
    return shim;
  }

  /** For the environment of the processes. */
  get env(): Record<string, string> {
    return { LD_PRELOAD: this.library, CHAOS_CLOCKS: this.folder };
  }

  /** Sets the clock of a process this many ms ahead of the true one; negative: behind. */
  set(name: string, offsetMs: number): void {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(BigInt(Math.round(offsetMs)) * 1_000_000n);
    // In place: the processes have this very file mapped.
    const file = openSync(join(this.folder, name), 'r+');
    try {
      writeSync(file, bytes, 0, bytes.length, 0);
    } finally {
      closeSync(file);
    }
  }
}
