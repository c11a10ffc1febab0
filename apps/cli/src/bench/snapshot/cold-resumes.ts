import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { touchedSinceRestore, writeWorkingSet, type MicrovmProcess } from '#microvm';
import type { CanaryStage } from '../canary-stage';
import { measureUncached, type UncachedStarts } from '../uncached-starts';

/** As long as the host agent looks at what has gone on, ms. */
const FIRST_MOMENTS_MS = 500;

/**
 * Suspends a canary to `directory`, which must be on a disk, has it go on and suspends it again; and has that go on as it is, and with what it touched
 * the first time read ahead.
 */
export function measureColdResumes(
  stage: CanaryStage,
  directory: string,
  touchMiB: number,
  repeats: number,
): Promise<UncachedStarts> {
  return measureUncached(stage, directory, repeats, async (folder) => {
    const suspend = async (guest: MicrovmProcess, name: string): Promise<string> => {
      const to = join(folder, name);
      await guest.snapshot(to, { live: true, resume: false });
      guest.kill();
      await guest.exited;
      return to;
    };
    const first = await suspend(await stage.start(`touch=${touchMiB}`, 'touched'), 'first');
    const { process } = await stage.time(await stage.spec({ restore: { directory: first } }));
    await pause(FIRST_MOMENTS_MS);
    const touched = await touchedSinceRestore(process);
    const second = await suspend(process, 'second');
    await writeWorkingSet(second, touched);
    return second;
  });
}
