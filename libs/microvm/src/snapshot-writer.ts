import { randomBytes } from 'node:crypto';
import { mkdir, open, rename, rm, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { readSnapshotHeader } from './describe-snapshot';
import { VmmControlError } from './errors';
import { SNAPSHOT_FILES, type SnapshotOptions, type SnapshotReport } from './snapshot';
import type { SnapshotExtent, SnapshotHeader } from './snapshot-header';

/** `volley_snapshot_order` of native/abi. */
const RESUME = 1;
const DIFF = 2;
const STAY = 4;
const LIVE = 8;
/** `volley_snapshot_tracking` of native/abi. */
const TRACKING = ['none', 'plain', 'manual'] as const;
const MAX_ROUNDS = 13;
const PAGE_BYTES = 4096;
const KVM_KINDS = { hardware: 1, software: 2 } as const;
const AT_ONCE = 1024 * 1024;

/** Of a VMM, what a snapshot needs. */
export interface SnapshotVmm {
  /** Has it write the files. Resolves with the payload of its reply. */
  order(payload: Buffer, descriptors: [state: number, memory: number]): Promise<Buffer>;
  isPaused(): boolean;
  pause(): Promise<void>;
  resume(): Promise<void>;
}

const TOO_OLD = 'its VMM was started by an earlier build, which copies memory only while the guest stands still';

/**
 * Writes a snapshot under other names and gives it its own when it is whole and durable. Whatever fails, and whenever this
 * process ends: there is a whole snapshot in the directory, or none that `describeSnapshot` takes for one.
 */
export async function writeSnapshot(
  directory: string,
  options: SnapshotOptions,
  kvmKind: keyof typeof KVM_KINDS,
  vmm: SnapshotVmm,
): Promise<SnapshotReport> {
  const { kind = 'full', base } = options;
  const baseHeader = kind === 'diff' ? await readSnapshotHeader(base ?? directory) : undefined;
  await mkdir(directory, { recursive: true });
  const state = join(directory, SNAPSHOT_FILES.state);
  const memory = join(directory, SNAPSHOT_FILES.memory);
  const made: FileHandle[] = [];
  const make = async (path: string) => {
    await rm(path, { force: true });
    const file = await open(path, 'wx+', 0o600);
    made.push(file);
    return file;
  };
  try {
    const stateFile = await make(`${state}.new`);
    const memoryFile = await make(`${memory}.new`);
    if (baseHeader) await copyData(join(base ?? directory, SNAPSHOT_FILES.memory), baseHeader, memoryFile);
    const order = (flags: number) =>
      vmm.order(toOrder(flags, KVM_KINDS[kvmKind], baseHeader), [stateFile.fd, memoryFile.fd]);
    const report = await take(options, vmm, order);
    await Promise.all([stateFile.sync(), memoryFile.sync()]);
    // Whoever looks in between finds no snapshot, or two files that do not belong together.
    await rm(state, { force: true });
    await rename(`${memory}.new`, memory);
    await rename(`${state}.new`, state);
    await syncDirectory(directory);
    return { kind, ...report };
  } finally {
    for (const file of made) await file.close();
    for (const path of [state, memory]) await rm(`${path}.new`, { force: true });
  }
}

type Taken = Omit<SnapshotReport, 'kind'>;

async function take(
  options: SnapshotOptions,
  vmm: SnapshotVmm,
  order: (flags: number) => Promise<Buffer>,
): Promise<Taken> {
  const flags = flagsOf(options);
  try {
    return toReport(await order(flags));
  } catch (error) {
    const isTooMuch = error instanceof VmmControlError && error.code === 'EINVAL' && (flags & (LIVE | STAY)) !== 0;
    if (!isTooMuch) throw error;
    const taken = await takeFromOlder(options, vmm, order);
    return options.live ? { ...taken, copy: { ...taken.copy, reason: TOO_OLD } } : taken;
  }
}

/**
 * From a VMM of before live snapshots, which an agent may have adopted: it refuses an order that it does not know, and has done nothing
 * then. It lets a guest go on that ran before, so this one is stopped first.
 */
async function takeFromOlder(
  { kind, resume }: SnapshotOptions,
  vmm: SnapshotVmm,
  order: (flags: number) => Promise<Buffer>,
): Promise<Taken> {
  const wasPaused = vmm.isPaused();
  const goesOn = resume ?? !wasPaused;
  const pausedAt = process.hrtime.bigint();
  if (!wasPaused) await vmm.pause();
  try {
    const { pages, ...taken } = toReport(await order((goesOn ? RESUME : 0) | (kind === 'diff' ? DIFF : 0)));
    const pauseNs = Number(process.hrtime.bigint() - pausedAt);
    // It does not tell how memory was copied.
    const copy = { tracking: 'none' as const, converged: true, roundBytes: [pages * PAGE_BYTES, 0] };
    return { ...taken, pages, pauseNs, copy };
  } catch (error) {
    if (!wasPaused) await vmm.resume();
    throw error;
  }
}

function flagsOf({ kind, resume, live }: SnapshotOptions): number {
  const afterwards = resume === undefined ? 0 : resume ? RESUME : STAY;
  return afterwards | (kind === 'diff' ? DIFF : 0) | (live ? LIVE : 0);
}

function toOrder(flags: number, kvmKind: number, base: SnapshotHeader | undefined): Buffer {
  const payload = Buffer.alloc(48);
  payload.writeUInt32LE(flags, 0);
  payload.writeUInt32LE(kvmKind, 4);
  payload.writeBigUInt64LE(BigInt(Date.now()), 8);
  randomBytes(16).copy(payload, 16);
  base?.id.copy(payload, 32);
  return payload;
}

/** `volley_snapshot_taken` of native/abi. */
function toReport(reply: Buffer): Taken {
  const number = (index: number) => Number(reply.readBigUInt64LE(index * 8));
  const rounds = Math.min(reply.readUInt32LE(36), MAX_ROUNDS);
  return {
    ...{ pauseNs: number(0), totalNs: number(1), pages: number(2), bytes: number(3) },
    copy: {
      tracking: TRACKING[reply.readUInt16LE(32)] ?? 'none',
      converged: reply.readUInt16LE(34) !== 0,
      roundBytes: Array.from({ length: rounds + 1 }, (_, round) => reply.readUInt32LE(40 + round * 4) * PAGE_BYTES),
    },
  };
}

async function copyData(from: string, { extents, description }: SnapshotHeader, to: FileHandle): Promise<void> {
  const source = await open(from, 'r');
  try {
    await to.truncate(description.memoryBytes);
    for (const extent of extents) await copyExtent(source, extent, to);
  } finally {
    await source.close();
  }
}

async function copyExtent(from: FileHandle, { offset, length }: SnapshotExtent, to: FileHandle): Promise<void> {
  const buffer = Buffer.alloc(Math.min(AT_ONCE, length));
  for (let done = 0; done < length;) {
    const { bytesRead } = await from.read(buffer, 0, Math.min(buffer.length, length - done), offset + done);
    if (bytesRead === 0) throw new Error('the memory of the base is shorter than it was');
    await to.write(buffer, 0, bytesRead, offset + done);
    done += bytesRead;
  }
}

async function syncDirectory(directory: string): Promise<void> {
  const file = await open(directory, 'r');
  await file.sync().finally(() => file.close());
}
