import { existsSync } from 'node:fs';
import { link, open } from 'node:fs/promises';
import { join } from 'node:path';
import type { DiskFiles } from '../disks/disks';
import type { PlannedDisk } from '../disks/disk-plan';
import { runTool } from '../network/tools';

const COPY_DEADLINE_MS = 120_000;
/** The suffixes of the files that a disk consists of (see Disks). */
const SUFFIXES = ['raw', 'base', 'overlay'] as const;

/** Names of the files that these disks consist of in a folder. */
function filesIn(folder: string, disks: readonly PlannedDisk[]): string[] {
  return disks
    .flatMap(({ name }) => SUFFIXES.map((suffix) => `${name}.${suffix}`))
    .filter((file) => existsSync(join(folder, file)));
}

/** Copies disks that nobody writes to at the moment. What never changes is linked; the rest is shared where the file system can. */
export async function copyDisks(disks: readonly PlannedDisk[], from: string, to: string): Promise<void> {
  for (const file of filesIn(from, disks)) {
    if (file.endsWith('.base')) await link(join(from, file), join(to, file));
    else await copyFile(join(from, file), join(to, file));
  }
}

/**
 * Gives a clone its own disks in `folder`, as they were in the template: what it writes goes to overlays of its own. Disks of an
 * earlier start are replaced: the guest's memory would not fit them.
 */
export async function cloneDisks(
  disks: readonly PlannedDisk[],
  template: string,
  folder: string,
): Promise<Map<string, DiskFiles>> {
  const cloned = new Map<string, DiskFiles>();
  for (const { name, sizeMiB } of disks) {
    const path = join(folder, `${name}.base`);
    const overlayPath = join(folder, `${name}.overlay`);
    const [raw, base, overlay] = SUFFIXES.map((suffix) => join(template, `${name}.${suffix}`)) as [
      string,
      string,
      string,
    ];
    await link(existsSync(raw) ? raw : base, path);
    if (existsSync(overlay)) await copyFile(overlay, overlayPath);
    cloned.set(name, { path, sizeBytes: sizeMiB * 1024 * 1024, readOnly: false, overlayPath });
  }
  return cloned;
}

/** Where the disks of a microVM are that has been here before. */
export function keptDisks(disks: readonly PlannedDisk[], folder: string): Map<string, DiskFiles> {
  const kept = new Map<string, DiskFiles>();
  for (const { name, sizeMiB } of disks) {
    const sizeBytes = sizeMiB * 1024 * 1024;
    const raw = join(folder, `${name}.raw`);
    kept.set(
      name,
      existsSync(raw)
        ? { path: raw, sizeBytes, readOnly: false }
        : {
            path: join(folder, `${name}.base`),
            sizeBytes,
            readOnly: false,
            overlayPath: join(folder, `${name}.overlay`),
          },
    );
  }
  return kept;
}

/** Holes stay holes, and blocks are shared where the file system can; Node's own copy does only the second. */
async function copyFile(from: string, to: string): Promise<void> {
  await runTool('/bin/cp', ['--reflink=auto', '--sparse=always', from, to], { deadlineMs: COPY_DEADLINE_MS });
  const file = await open(to, 'r');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}
