import { join } from 'node:path';
import { recordWorkingSet } from '#microvm';
import type { CanaryStage } from '../canary-stage';
import { measureUncached, type UncachedStarts } from '../uncached-starts';

/** Makes a template in `directory`, which must be on a disk, and clones it as it is, and with its working set read ahead. */
export function measureColdClones(
  stage: CanaryStage,
  directory: string,
  touchMiB: number,
  repeats: number,
): Promise<UncachedStarts> {
  return measureUncached(stage, directory, repeats, async (folder) => {
    const template = join(folder, 'template');
    await stage.makeTemplate(template, `touch=${touchMiB}`);
    const first = await stage.time(await stage.spec({ restore: { directory: template } }));
    await recordWorkingSet(template, first.process);
    return template;
  });
}
