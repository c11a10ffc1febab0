import { open, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { SnapshotError } from './errors';
import { memoryChecksum } from './memory-checksum';
import { SNAPSHOT_FILES, type RestoreHost, type SnapshotDescription } from './snapshot';
import { checkTrailer, HEADER_BYTES, parseSnapshotHeader, TRAILER_BYTES, type SnapshotHeader } from './snapshot-header';

/**
 * Reads and checks what a snapshot says of itself, without starting anything. With `verifyMemory` all of `memory` is read and
 * compared with its checksum, which takes some seconds per GiB. Rejects with {@link SnapshotError}.
 */
export async function describeSnapshot(
  directory: string,
  options: { verifyMemory?: boolean } = {},
): Promise<SnapshotDescription> {
  return (await readSnapshotHeader(directory, options)).description;
}

/** As {@link describeSnapshot}, with all of the header. */
export async function readSnapshotHeader(
  directory: string,
  { verifyMemory = false }: { verifyMemory?: boolean } = {},
): Promise<SnapshotHeader> {
  try {
    const header = await withFile(join(directory, SNAPSHOT_FILES.state), async (state) => {
      const found = parseSnapshotHeader(await readAt(state, 0, HEADER_BYTES));
      if ((await state.stat()).size < found.description.stateBytes) {
        throw new SnapshotError('truncated', 'its state is shorter than it says');
      }
      return found;
    });
    await withFile(join(directory, SNAPSHOT_FILES.memory), async (memory) => {
      const { memoryBytes, memoryMiB } = header.description;
      if ((await memory.stat()).size < memoryBytes) {
        throw new SnapshotError('truncated', 'its memory is shorter than its state says');
      }
      checkTrailer(await readAt(memory, memoryMiB * 1024 * 1024, TRAILER_BYTES), header);
      if (verifyMemory && (await memoryChecksum(memory, header.extents)) !== header.memoryChecksum) {
        throw new SnapshotError('corrupt', 'its memory does not have its checksum');
      }
    });
    return header;
  } catch (error) {
    if (!(error instanceof SnapshotError)) throw error;
    throw new SnapshotError(error.problem, `the snapshot in ${directory} cannot be used: ${error.message}`);
  }
}

/** Why a snapshot cannot be restored on a host, in one sentence; `undefined` if it can. Pure. */
export function restoreObstacle(snapshot: SnapshotDescription, host: RestoreHost): string | undefined {
  const { kvmKind, cpu, bootProtocol } = snapshot;
  if (host.kvmKind !== kvmKind) {
    return `it was made on ${kvmKind} KVM, the host has ${host.kvmKind === undefined ? 'no' : host.kvmKind} KVM`;
  }
  if (host.cpu === undefined) return undefined;
  if (host.cpu.vendor !== cpu.vendor) return `its processor is of ${cpu.vendor}, the host's of ${host.cpu.vendor}`;
  // Flat guests are shown no processor.
  if (bootProtocol === 'linux' && host.cpu.features !== cpu.features) {
    return `its processor has other features (${cpu.features}) than the host gives to guests (${host.cpu.features})`;
  }
  return undefined;
}

async function withFile<T>(path: string, use: (file: FileHandle) => Promise<T>): Promise<T> {
  let file: FileHandle;
  try {
    file = await open(path, 'r');
  } catch (error) {
    throw new SnapshotError('missing', `${path}: ${(error as Error).message}`);
  }
  try {
    return await use(file);
  } finally {
    await file.close();
  }
}

/** What there is of `length` bytes. */
async function readAt(file: FileHandle, offset: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  let done = 0;
  while (done < length) {
    const { bytesRead } = await file.read(buffer, done, length - done, offset + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return buffer.subarray(0, done);
}
