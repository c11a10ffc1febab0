import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ImageError } from '#images';
import { compressionOf, headOf } from '../programs/compression';
import { ProgramError } from '../programs/run-program';
import { run, type ImportContext } from '../import/import-context';
import { KERNEL_HEAD_BYTES, kernelFile, requireElf } from './boot-image';

export interface Vmlinux {
  path: string;
  /** What `uname -r` will say. */
  release: string;
}

const UNPACK_MS = 5 * 60_000;
/** No kernel is as large. */
const MOST_BYTES = 1 << 30;

/**
 * The kernel as the VMM starts it: a vmlinux, taken out of a bzImage if need be. Done once here, it costs no microVM the time to
 * decompress itself.
 *
 * @throws ImageError
 */
export async function vmlinuxOf(context: ImportContext, file: string, title: string): Promise<Vmlinux> {
  const found = kernelFile(await headOf(file, KERNEL_HEAD_BYTES), title);
  if (found.kind === 'package') throw new ImageError('notUnderstood', `${title} is a package, not a kernel`);
  const path = found.kind === 'vmlinux' ? file : await extract(context, file, title, found.payload);
  const release = (found.kind === 'bzImage' ? found.release : undefined) ?? (await releaseOf(path));
  if (release === undefined) throw new ImageError('notUnderstood', `${title} does not say which Linux it is`);
  return { path, release };
}

async function extract(
  context: ImportContext,
  file: string,
  title: string,
  payload: { offset: number; bytes: number },
): Promise<string> {
  const { size } = await stat(file);
  if (payload.bytes < 16 || payload.offset + payload.bytes > size) {
    throw new ImageError(
      'corrupted',
      `${title} is cut off: ${payload.offset + payload.bytes} bytes are expected, ${size} are there`,
    );
  }
  const head = await headOf(file, 8, payload.offset);
  const path = join(context.folder, 'vmlinux');
  if (head.toString('latin1', 0, 4) !== '\x7fELF') {
    const compression = compressionOf(head);
    if (!compression) throw new ImageError('notUnderstood', `${title} is compressed in a way that is not known`);
    context.say(`extracting the kernel (${compression.name})`);
    // Behind the payload stands its size, which programs would take for garbage; in gzip's it is gzip's own.
    const trailer = compression.name === 'gzip' ? 0 : 4;
    await unpack(context, compression, file, payload.offset, payload.bytes - trailer, path, title);
  } else {
    await unpack(
      context,
      { name: 'none', program: 'cat', args: [], package: 'coreutils' },
      file,
      payload.offset,
      payload.bytes,
      path,
      title,
    );
  }
  requireElf(await headOf(path, 64), title);
  return path;
}

async function unpack(
  context: ImportContext,
  compression: { name: string; program: string; args: readonly string[]; package: string },
  file: string,
  offset: number,
  bytes: number,
  outputFile: string,
  title: string,
): Promise<void> {
  try {
    await run(context, {
      ...compression,
      input: createReadStream(file, { start: offset, end: offset + bytes - 1, highWaterMark: 1 << 20 }),
      outputFile,
      maxOutputBytes: MOST_BYTES,
      deadlineMs: UNPACK_MS,
    });
  } catch (error) {
    if (!(error instanceof ProgramError)) throw error;
    throw new ImageError('corrupted', `${title} cannot be unpacked as ${compression.name}: ${error.message}`);
  }
}

/** Every kernel says `Linux version RELEASE (` somewhere in its data. */
async function releaseOf(vmlinux: string): Promise<string | undefined> {
  let tail = '';
  for await (const chunk of createReadStream(vmlinux, { highWaterMark: 1 << 20, encoding: 'latin1' })) {
    const text = tail + (chunk as string);
    const release = /Linux version (\d[^\s\0]{0,128}) /.exec(text)?.[1];
    if (release !== undefined) return release;
    tail = text.slice(-256);
  }
  return undefined;
}
