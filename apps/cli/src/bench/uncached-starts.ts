import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { prefetchWorkingSet, readWorkingSet } from '#microvm';
import { workingSetBytes } from '#protocol';
import type { CanaryStage } from './canary-stage';
import { distribution, type Distribution } from './percentiles';

/** Starts from a snapshot whose memory is not in the page cache. ms from the call to ready. */
export interface UncachedStarts {
  /** What is read ahead. */
  workingSetKiB: number;
  plain: Distribution | null;
  /** The working set is read while the process is made, and before. */
  prefetched: Distribution | null;
  /** Until the working set was read: what `prefetched` begins with. */
  prefetchMs: Distribution | null;
  /** The same starts with everything in the page cache, to compare with. */
  warm: Distribution | null;
}

const run = promisify(execFile);
const DROP_DEADLINE_MS = 30_000;

/**
 * Starts from a snapshot with a working set beside it, in turn as it is, with the working set read ahead, and warm. Only the pages of the snapshot's
 * file are dropped from the page cache, not those of others.
 *
 * @param directory on a disk; nothing stays in it
 * @param make makes the snapshot in this folder, and gives its path
 */
export async function measureUncached(
  stage: CanaryStage,
  directory: string,
  repeats: number,
  make: (folder: string) => Promise<string>,
): Promise<UncachedStarts> {
  const folder = await mkdtemp(join(directory, 'volley-cold-'));
  try {
    return await measure(stage, await make(folder), repeats);
  } finally {
    await stage.end();
    await rm(folder, { recursive: true, force: true });
  }
}

async function measure(stage: CanaryStage, snapshot: string, repeats: number): Promise<UncachedStarts> {
  const start = async (): Promise<number> => {
    const { process, ms } = await stage.time(await stage.spec({ restore: { directory: snapshot } }));
    process.kill();
    await process.exited;
    return ms;
  };
  const workingSet = await readWorkingSet(snapshot);
  if (!workingSet) throw new Error('there is no working set beside the snapshot');
  const times = { plain: [] as number[], prefetched: [] as number[], prefetch: [] as number[], warm: [] as number[] };
  for (let index = 0; index < repeats; index++) {
    await dropFromCache(join(snapshot, 'memory'));
    times.plain.push(await start());
    await dropFromCache(join(snapshot, 'memory'));
    const began = performance.now();
    const read = prefetchWorkingSet(snapshot).then(() => times.prefetch.push(performance.now() - began));
    times.prefetched.push(await start());
    await read;
    times.warm.push(await start());
  }
  return {
    workingSetKiB: Math.round(workingSetBytes(workingSet) / 1_024),
    plain: distribution(times.plain) ?? null,
    prefetched: distribution(times.prefetched) ?? null,
    prefetchMs: distribution(times.prefetch) ?? null,
    warm: distribution(times.warm) ?? null,
  };
}

/** posix_fadvise(DONTNEED) over all of a file: dd is what has it. */
async function dropFromCache(path: string): Promise<void> {
  await run('dd', [`if=${path}`, 'iflag=nocache', 'count=0', 'status=none'], { timeout: DROP_DEADLINE_MS });
}
