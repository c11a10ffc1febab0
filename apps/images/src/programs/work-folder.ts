import { mkdirSync, readdirSync, readFileSync, readlinkSync, realpathSync, rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * Where imports keep what they work on: a folder for each process, and in it one for each import. What a process that died has
 * left, programs that still run in there included, is removed by the next one that comes.
 */
export class WorkFolder {
  private constructor(private readonly own: string) {}

  static open(base: string): WorkFolder {
    mkdirSync(base, { recursive: true, mode: 0o700 });
    base = realpathSync(base); // as /proc shows it
    for (const name of readdirSync(base)) {
      const [, pid, startTicks] = /^(\d+)-(\d+)$/.exec(name) ?? [];
      if (pid !== undefined && startTicksOf(pid) !== startTicks) {
        endProcessesIn(join(base, name));
        rmSync(join(base, name), { recursive: true, force: true, maxRetries: 5 });
      }
    }
    const own = join(base, `${process.pid}-${startTicksOf('self') ?? '0'}`);
    mkdirSync(own, { recursive: true, mode: 0o700 });
    return new WorkFolder(own);
  }

  /** Gives `work` an empty folder, which is gone with all that is in it when the work is over, however it ends. */
  async within<T>(work: (folder: string) => Promise<T>): Promise<T> {
    const folder = await mkdtemp(join(this.own, 'import-'));
    try {
      return await work(folder);
    } finally {
      await rm(folder, { recursive: true, force: true, maxRetries: 3 });
    }
  }

  close(): void {
    rmSync(this.own, { recursive: true, force: true });
  }
}

/** Programs that an import runs work in its folder: nobody else does. */
function endProcessesIn(folder: string): void {
  for (const pid of readdirSync('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    try {
      if (readlinkSync(`/proc/${pid}/cwd`).startsWith(`${folder}/`)) process.kill(Number(pid), 'SIGKILL');
    } catch {
      // it has ended, or is not ours
    }
  }
}

/** When a process began; tells it from a later one of its number. */
function startTicksOf(pid: string): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return undefined;
  }
}
