import { createReadStream, createWriteStream } from 'node:fs';
import { stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { explained, ImageError } from '#images';
import { headOf } from '../programs/compression';
import { decompressed, type ImportContext } from '../import/import-context';
import { DEFAULT_PATH } from '../oci/oci-documents';
import { FILE_SYSTEM_HEAD_BYTES, fileSystemKind } from './file-system-kind';
import { PARTITION_TABLE_BYTES, partitionsOf } from './partition-table';
import { squashfsOfArchive } from './squashfs';
import type { ImportedRoot } from './imported-root';

interface UploadedFile {
  path: string;
  title: string;
  digest: string;
}

/** Disks are given to guests in blocks of this. */
const BLOCK_BYTES = 4_096;
const NOTHING_RUNS = { entrypoint: [], command: [], env: [DEFAULT_PATH], user: '', workdir: '' };

/** A tar archive of a root file system, compressed or not. Nothing runs in it by itself. @throws ImageError */
export async function importRootArchive(context: ImportContext, file: UploadedFile): Promise<ImportedRoot> {
  const archive = await decompressed(context, file.path, 'the archive');
  const head = await headOf(archive, 512);
  if (head.length < 512 || head.toString('latin1', 257, 262) !== 'ustar') {
    throw new ImageError('notUnderstood', `${file.title} is no tar archive`);
  }
  context.say('making the root file system');
  const path = await squashfsOfArchive(context, archive);
  return { type: 'squashfs', path, run: NOTHING_RUNS, source: file.title };
}

/** A disk: one file system, or the first one of Linux on a raw disk with partitions. @throws ImageError */
export async function importDisk(context: ImportContext, file: UploadedFile): Promise<ImportedRoot> {
  const disk = await decompressed(context, file.path, 'the disk');
  const { size } = await stat(disk);
  const whole = fileSystemKind(await headOf(disk, FILE_SYSTEM_HEAD_BYTES));
  const found =
    whole.type === 'unknown'
      ? await firstLinuxPartition(disk, size, file.title)
      : { kind: whole, offset: 0, bytes: size };
  const { kind, offset } = found;
  if (kind.type === 'other' || kind.type === 'unknown') {
    throw new ImageError(
      'notUnderstood',
      `${file.title} holds ${kind.type === 'other' ? kind.name : 'no file system that is known'}; ext4, squashfs and erofs are taken`,
    );
  }
  if (kind.bytes === 0 || kind.bytes > found.bytes) {
    throw new ImageError(
      'corrupted',
      `${file.title} is cut off: its ${kind.type} file system has ${kind.bytes} bytes, and only ${found.bytes} are there`,
    );
  }
  if (kind.unclean) {
    throw new ImageError(
      'corrupted',
      `the ext4 file system on ${file.title} was not unmounted; repair it first: e2fsck -f`,
    );
  }
  context.say(`taking its ${kind.type} file system`);
  const path = join(context.folder, 'root.disk');
  try {
    const content = createReadStream(disk, { start: offset, end: offset + kind.bytes - 1, highWaterMark: 1 << 20 });
    await pipeline(content, createWriteStream(path, { mode: 0o600 }), { signal: context.signal });
    await truncate(path, Math.ceil(kind.bytes / BLOCK_BYTES) * BLOCK_BYTES);
  } catch (error) {
    throw explained(error, `taking the file system of ${file.title}`);
  }
  return { type: kind.type, path, run: NOTHING_RUNS, source: file.title };
}

async function firstLinuxPartition(disk: string, size: number, title: string) {
  const partitions = partitionsOf(await headOf(disk, PARTITION_TABLE_BYTES));
  if (!partitions) return { kind: { type: 'unknown' } as const, offset: 0, bytes: size };
  const chosen = partitions.find(({ linux }) => linux);
  if (!chosen) {
    throw new ImageError(
      'notUnderstood',
      `none of the ${partitions.length} partitions of ${title} is of the type Linux; import the file system of one by itself`,
    );
  }
  if (chosen.offset >= size) throw new ImageError('corrupted', `${title} is cut off before its first Linux partition`);
  const kind = fileSystemKind(await headOf(disk, FILE_SYSTEM_HEAD_BYTES, chosen.offset));
  return { kind, offset: chosen.offset, bytes: Math.min(chosen.bytes, size - chosen.offset) };
}
