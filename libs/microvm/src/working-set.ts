import { open, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { WORKING_SET_MOST_BYTES, WorkingSet, workingSetBytes, workingSetEnd } from '#protocol';
import { crc32c } from './crc32c';
import { readSnapshotHeader } from './describe-snapshot';
import type { MicrovmProcess } from './microvm-driver';
import { SNAPSHOT_FILES } from './snapshot';
import { PAGE_BYTES, type SnapshotExtent } from './snapshot-header';

/** Beside the files of a snapshot: eight digits of CRC-32C, a space, and the working set as JSON. It may be missing. */
const FILE = 'working-set';
const FILE_MOST_BYTES = 128 * 1024;
/** Runs so near each other are read as one: a seek costs more. */
const NEAR_BYTES = 4 * PAGE_BYTES;
const ENTRY_BYTES = 8;
/** Of memory, looked at in one go. */
const PART_BYTES = 256 * 1024 * 1024;
const PRESENT = 1n << 63n;

/** Thrown by {@link writeWorkingSet}: it tells of memory that its snapshot does not have. */
export class WorkingSetError extends Error {
  override readonly name = 'WorkingSetError';
}

/**
 * Writes down which pages of its snapshot a clone has touched until now (Linux: `/proc/PID/pagemap`), pages that the kernel mapped
 * around them included; at most 8 MiB from the lowest address on. As REAP does (Ustiugov et al., ASPLOS 2021), but of the page cache:
 * clones share it. Gives the bytes. Rejects when the clone has ended, or the process may not read its page map.
 */
export async function recordWorkingSet(directory: string, clone: MicrovmProcess): Promise<number> {
  const { extents } = await readSnapshotHeader(directory);
  const workingSet = await touchedPages(extents, clone);
  await writeWorkingSet(directory, workingSet);
  return workingSetBytes(workingSet);
}

/**
 * The same of one that went on from a snapshot which may be gone: where in all of its memory it has been since then. In the next snapshot of it, its
 * pages lie in the same places.
 */
export async function touchedSinceRestore(process: MicrovmProcess): Promise<WorkingSet> {
  return touchedPages([{ offset: 0, length: Number(process.stats().guestMemoryBytes) }], process);
}

async function touchedPages(extents: readonly SnapshotExtent[], process: MicrovmProcess): Promise<WorkingSet> {
  const { guestMemoryAddress } = process.stats();
  const map = await open(`/proc/${process.identity.pid}/pagemap`, 'r');
  const runs: SnapshotExtent[] = [];
  try {
    for (const { offset, length } of partsOf(extents)) {
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
  return { schema: 1, runs: bounded(runs) };
}

/** The same, in parts for which a buffer of 512 KiB has room. */
function* partsOf(extents: readonly SnapshotExtent[]): Generator<SnapshotExtent> {
  for (const { offset, length } of extents) {
    for (let from = 0; from < length; from += PART_BYTES) {
      yield { offset: offset + from, length: Math.min(PART_BYTES, length - from) };
    }
  }
}

/** Puts a working set beside a snapshot, in place of one that is there. @throws WorkingSetError when it is not one of this memory. */
export async function writeWorkingSet(directory: string, workingSet: WorkingSet): Promise<void> {
  const { size } = await stat(join(directory, SNAPSHOT_FILES.memory));
  if (workingSetEnd(workingSet) > size) {
    throw new WorkingSetError(
      `a working set that ends at byte ${workingSetEnd(workingSet)} is none of ${size} bytes of memory`,
    );
  }
  const text = Buffer.from(JSON.stringify(workingSet));
  const path = join(directory, FILE);
  await writeFile(`${path}.new`, Buffer.concat([Buffer.from(`${checksumOf(text)} `), text]));
  await rename(`${path}.new`, path);
}

/** The one beside a snapshot. Undefined: there is none, it is damaged, or it is none of this memory; then another may be put in its place. */
export async function readWorkingSet(directory: string): Promise<WorkingSet | undefined> {
  const path = join(directory, FILE);
  const about = await stat(path).catch(() => undefined);
  if (!about || about.size > FILE_MOST_BYTES) return undefined;
  const [content, { size }] = await Promise.all([readFile(path), stat(join(directory, SNAPSHOT_FILES.memory))]);
  const workingSet = parse(content);
  return workingSet && workingSetEnd(workingSet) <= size ? workingSet : undefined;
}

/** Has the kernel read into its page cache what {@link readWorkingSet} gives. Gives the bytes; 0 where nothing is. */
export async function prefetchWorkingSet(directory: string): Promise<number> {
  const workingSet = await readWorkingSet(directory);
  if (!workingSet) return 0;
  const { runs } = workingSet;
  const memory = await open(join(directory, SNAPSHOT_FILES.memory), 'r');
  try {
    const scratch = Buffer.allocUnsafe(Math.max(0, ...runs.map(([, length]) => length)));
    // All at once, so that the disk has them side by side. Nobody looks at the bytes.
    await Promise.all(runs.map(([offset, length]) => memory.read(scratch, 0, length, offset)));
    return workingSetBytes(workingSet);
  } finally {
    await memory.close();
  }
}

function addPage(runs: SnapshotExtent[], offset: number): void {
  const last = runs.at(-1);
  if (last && offset - (last.offset + last.length) <= NEAR_BYTES) last.length = offset + PAGE_BYTES - last.offset;
  else runs.push({ offset, length: PAGE_BYTES });
}

function bounded(runs: readonly SnapshotExtent[]): WorkingSet['runs'] {
  let left = WORKING_SET_MOST_BYTES;
  const kept: WorkingSet['runs'] = [];
  for (const { offset, length } of runs) {
    if (left === 0) break;
    const taken = Math.min(length, left);
    kept.push([offset, taken]);
    left -= taken;
  }
  return kept;
}

function parse(content: Buffer): WorkingSet | undefined {
  const [checksum, text] = [content.subarray(0, 8), content.subarray(9)];
  if (checksum.toString('latin1') !== checksumOf(text) || content[8] !== 0x20) return undefined;
  try {
    return WorkingSet.parse(JSON.parse(text.toString('utf8')));
  } catch {
    return undefined;
  }
}

const checksumOf = (text: Uint8Array): string => crc32c(text).toString(16).padStart(8, '0');
