import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { prefetchWorkingSet, recordWorkingSet } from '#microvm';
import type { CanaryStage } from '../canary-stage';
import { distribution, type Distribution } from '../percentiles';

/** Clones of a template whose memory is not in the page cache. ms from the call to ready. */
export interface ColdClones {
  /** What is read ahead. */
  workingSetKiB: number;
  plain: Distribution | null;
  /** The working set is read while the process is made, and before. */
  prefetched: Distribution | null;
  /** Until the working set was read: what `prefetched` begins with. */
  prefetchMs: Distribution | null;
  /** The same clones with everything in the page cache, to compare with. */
  warm: Distribution | null;
}

const run = promisify(execFile);
const DROP_DEADLINE_MS = 30_000;

/**
 * Makes a template in `directory`, which must be on a disk, and clones it in turn as it is, and with its working set read ahead. Only
 * the pages of the template's file are dropped from the page cache, not those of others.
 */
export async function measureColdClones(
  stage: CanaryStage,
  directory: string,
  touchMiB: number,
  repeats: number,
): Promise<ColdClones> {
  const folder = await mkdtemp(join(directory, 'volley-cold-'));
  try {
    const template = join(folder, 'template');
    await stage.makeTemplate(template, `touch=${touchMiB}`);
    const clone = async (): Promise<number> => {
      const { process, ms } = await stage.time(await stage.spec({ restore: { directory: template } }));
      process.kill();
      await process.exited;
      return ms;
    };
    const first = await stage.time(await stage.spec({ restore: { directory: template } }));
    const workingSet = await recordWorkingSet(template, first.process);
    const times = { plain: [] as number[], prefetched: [] as number[], prefetch: [] as number[], warm: [] as number[] };
    for (let index = 0; index < repeats; index++) {
      await dropFromCache(join(template, 'memory'));
      times.plain.push(await clone());
      await dropFromCache(join(template, 'memory'));
      const began = performance.now();
      const read = prefetchWorkingSet(template).then(() => times.prefetch.push(performance.now() - began));
      times.prefetched.push(await clone());
      await read;
      times.warm.push(await clone());
    }
    return {
      workingSetKiB: Math.round(workingSet / 1_024),
      plain: distribution(times.plain) ?? null,
      prefetched: distribution(times.prefetched) ?? null,
      prefetchMs: distribution(times.prefetch) ?? null,
      warm: distribution(times.warm) ?? null,
    };
  } finally {
    await stage.end();
    await rm(folder, { recursive: true, force: true });
  }
}

/** posix_fadvise(DONTNEED) over all of a file: dd is what has it. */
async function dropFromCache(path: string): Promise<void> {
  await run('dd', [`if=${path}`, 'iflag=nocache', 'count=0', 'status=none'], { timeout: DROP_DEADLINE_MS });
}
