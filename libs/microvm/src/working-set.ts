import { access, open, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readSnapshotHeader } from './describe-snapshot';
import type { MicrovmProcess } from './microvm-driver';
import { SNAPSHOT_FILES } from './snapshot';
import { PAGE_BYTES, type SnapshotExtent } from './snapshot-header';

/** Beside the files of a snapshot: where a clone's first moments were in `memory`. It may be missing, and is of no other use. */
const FILE = 'working-set';
/** More is not a first moment: reading it ahead would hold up what is needed first. */
const MOST_BYTES = 8 * 1024 * 1024;
/** Runs so near each other are read as one: a seek costs more. */
const NEAR_BYTES = 4 * PAGE_BYTES;
const ENTRY_BYTES = 8;
const PRESENT = 1n << 63n;

/**
 * Writes down which pages of its snapshot a clone has touched until now (Linux: `/proc/PID/pagemap`), pages that the kernel mapped
 * around them included; at most 8 MiB from the lowest address on. As REAP does (Ustiugov et al., ASPLOS 2021), but of the page cache:
 * clones share it. Gives the bytes. Rejects when the clone has ended, or the process may not read its page map.
 */
export async function recordWorkingSet(directory: string, clone: MicrovmProcess): Promise<number> {
  const { extents } = await readSnapshotHeader(directory);
  const { guestMemoryAddress } = clone.stats();
  const map = await open(`/proc/${clone.identity.pid}/pagemap`, 'r');
  const runs: SnapshotExtent[] = [];
  try {
    for (const { offset, length } of extents) {
      const entries = Buffer.alloc((length / PAGE_BYTES) * ENTRY_BYTES);
      const at = (Number(guestMemoryAddress) + offset) / PAGE_BYTES;
      const { bytesRead } = await map.read(entries, 0, entries.length, at * ENTRY_BYTES);
      for (let page = 0; page < bytesRead / ENTRY_BYTES; page++) {
        if ((entries.readBigUInt64LE(page * ENTRY_BYTES) & PRESENT) !== 0n) {
          addPage(runs, offset + page * PAGE_BYTES);
        }
      }
    }
  } finally {
    await map.close();
  }
  const kept = bounded(runs);
  const path = join(directory, FILE);
  await writeFile(`${path}.new`, JSON.stringify(kept.map(({ offset, length }) => [offset, length])));
  await rename(`${path}.new`, path);
  return bytesOf(kept);
}

/** Whether {@link recordWorkingSet} has written anything down there. */
export async function hasWorkingSet(directory: string): Promise<boolean> {
  return access(join(directory, FILE)).then(
    () => true,
    () => false,
  );
}

/**
 * Has the kernel read into its page cache what {@link recordWorkingSet} has written down. Gives the bytes; 0 where nothing is.
 * Rejects when what is written down does not fit the snapshot.
 */
export async function prefetchWorkingSet(directory: string): Promise<number> {
  const text = await readFile(join(directory, FILE), 'utf8').catch(() => '[]');
  const memory = await open(join(directory, SNAPSHOT_FILES.memory), 'r');
  try {
    const { size } = await memory.stat();
    const runs = parse(text, size);
    const scratch = Buffer.allocUnsafe(Math.max(0, ...runs.map(({ length }) => length)));
    // All at once, so that the disk has them side by side. Nobody looks at the bytes.
    await Promise.all(runs.map(({ offset, length }) => memory.read(scratch, 0, length, offset)));
    return bytesOf(runs);
  } finally {
    await memory.close();
  }
}

function addPage(runs: SnapshotExtent[], offset: number): void {
  const last = runs.at(-1);
  if (last && offset - (last.offset + last.length) <= NEAR_BYTES) last.length = offset + PAGE_BYTES - last.offset;
  else runs.push({ offset, length: PAGE_BYTES });
}

function bounded(runs: readonly SnapshotExtent[]): SnapshotExtent[] {
  let left = MOST_BYTES;
  const kept: SnapshotExtent[] = [];
  for (const { offset, length } of runs) {
    if (left === 0) break;
    kept.push({ offset, length: Math.min(length, left) });
    left -= kept.at(-1)!.length;
  }
  return kept;
}

function parse(text: string, size: number): SnapshotExtent[] {
  const problem = (): Error => new Error('the working set beside the snapshot does not fit it; remove it');
  const found: unknown = JSON.parse(text);
  if (!Array.isArray(found)) throw problem();
  const runs = found.map((run: unknown) => {
    const [offset, length] = Array.isArray(run) ? (run as unknown[]) : [];
    const sound = Number.isSafeInteger(offset) && Number.isSafeInteger(length);
    if (!sound || (offset as number) < 0 || (length as number) <= 0 || (offset as number) + (length as number) > size) {
      throw problem();
    }
    return { offset: offset as number, length: length as number };
  });
  if (bytesOf(runs) > MOST_BYTES) throw problem();
  return runs;
}

const bytesOf = (runs: readonly SnapshotExtent[]): number => runs.reduce((sum, { length }) => sum + length, 0);
