import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { recordWorkingSet } from '#microvm';
import type { CanaryStage } from '../canary-stage';
import { measureUncached, type UncachedStarts } from '../uncached-starts';

/** Makes a template in `directory`, which must be on a disk, and clones it as it is, and with its working set read ahead. */
export async function measureColdClones(
  stage: CanaryStage,
  directory: string,
  touchMiB: number,
  repeats: number,
): Promise<UncachedStarts> {
  const folder = await mkdtemp(join(directory, 'volley-cold-'));
  try {
    const template = join(folder, 'template');
    await stage.makeTemplate(template, `touch=${touchMiB}`);
    const first = await stage.time(await stage.spec({ restore: { directory: template } }));
    await recordWorkingSet(template, first.process);
    return await measureUncached(stage, template, repeats);
  } finally {
    await stage.end();
    await rm(folder, { recursive: true, force: true });
  }
}
