import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * Where imports keep what they work on: a folder for each process, and in it one for each import. What a process that died has
 * left is removed by the next one that comes.
 */
export class WorkFolder {
  private constructor(private readonly own: string) {}

  static open(base: string): WorkFolder {
    mkdirSync(base, { recursive: true, mode: 0o700 });
    for (const name of readdirSync(base)) {
      const [, pid, startTicks] = /^(\d+)-(\d+)$/.exec(name) ?? [];
      if (pid !== undefined && startTicksOf(pid) !== startTicks) {
        rmSync(join(base, name), { recursive: true, force: true });
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

/** When a process began; tells it from a later one of its number. */
function startTicksOf(pid: string): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return undefined;
  }
}
