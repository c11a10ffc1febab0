import { createReadStream } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { ImageError } from '#images';
import { run, type ImportContext } from '../import/import-context';
import { ProgramError } from '../programs/run-program';

const MAKE_MS = 60 * 60_000;

/**
 * Everything that could differ from one run to the next is fixed. zstd unpacks fast and every kernel of the last years has it; at
 * this level it packs about as tightly as gzip, several times as fast.
 */
const OPTIONS = [
  ...['-no-progress', '-quiet', '-xattrs', '-mkfs-time', '0'],
  ...['-comp', 'zstd', '-Xcompression-level', '6', '-mem', '256M'],
  ...['-processors', String(Math.min(4, availableParallelism()))],
];

/** Makes a read-only file system of a folder: owners, rights, times and extended attributes as they are. @throws ImageError */
export function makeSquashfs(context: ImportContext, folder: string): Promise<string> {
  return make(context, (image) => [folder, image, ...OPTIONS]);
}

/**
 * Makes a read-only file system of a tar archive without unpacking it: no rights are needed for owners and device files, and no path
 * in it leads anywhere. @throws ImageError
 */
export function squashfsOfArchive(context: ImportContext, archive: string): Promise<string> {
  const root = ['-root-time', '0', '-root-mode', '755', '-root-uid', '0', '-root-gid', '0'];
  return make(context, (image) => ['-', image, '-tar', ...OPTIONS, ...root], archive);
}

async function make(context: ImportContext, args: (image: string) => string[], input?: string): Promise<string> {
  const name = 'root.squashfs';
  try {
    await run(context, {
      program: 'mksquashfs',
      package: 'squashfs-tools',
      args: args(name),
      deadlineMs: MAKE_MS,
      ...(input === undefined ? {} : { input: createReadStream(input, { highWaterMark: 1 << 20 }) }),
    });
  } catch (error) {
    if (!(error instanceof ProgramError)) throw error;
    if (/no space left on device|disk quota exceeded/i.test(error.stderr)) {
      throw new ImageError('noSpace', 'no room on the disk for the root file system; free some and try again');
    }
    throw new ImageError('corrupted', `no root file system can be made of it: ${error.message}`);
  }
  return join(context.folder, name);
}
