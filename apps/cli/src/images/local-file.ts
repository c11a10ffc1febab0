import { createReadStream, existsSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { spawn } from 'node:child_process';
import type { Readable } from 'node:stream';
import { extract } from 'tar-stream';
import type { ImageSource } from '#protocol';
import { CliError } from '../errors';
import { ExitCode } from '../exit-code';

export type FileFormat = Extract<ImageSource, { type: 'upload' }>['format'];
export const FILE_FORMATS: readonly FileFormat[] = ['oci-archive', 'docker-archive', 'rootfs', 'disk', 'kernel'];

export interface LocalFile {
  path: string;
  format: FileFormat;
  /** A folder that holds an image in the layout of OCI; sent as an archive. */
  layout: boolean;
}

/** Programs that undo what archives are compressed with, by the first bytes. */
const PACKERS: readonly [magic: string, program: string][] = [
  ['1f8b', 'gzip'],
  ['fd377a58', 'xz'],
  ['28b52ffd', 'zstd'],
  ['425a68', 'bzip2'],
];
/** How much of a file tells what it is. */
const HEAD_BYTES = 4_096;

/**
 * What a file or folder on this machine is, if `format` does not say it.
 *
 * @throws CliError when it is not there, or nothing that can be imported.
 */
export async function inspectLocal(path: string, format?: FileFormat): Promise<LocalFile> {
  const found = statSync(path, { throwIfNoEntry: false });
  if (!found) throw new CliError(`${path} is not there`, ExitCode.usage);
  if (found.isDirectory()) {
    if (existsSync(join(path, 'oci-layout'))) return { path, format: 'oci-archive', layout: true };
    throw new CliError(
      `${path} is a folder without an image in the layout of OCI; pack a root file system first: tar -C ${path} -cf root.tar .`,
      ExitCode.usage,
    );
  }
  return { path, format: format ?? (await formatOf(path)), layout: false };
}

async function formatOf(path: string): Promise<FileFormat> {
  const head = await headOf(path);
  const at = (offset: number, hex: string): boolean =>
    head.subarray(offset, offset + hex.length / 2).toString('hex') === hex;
  const text = (offset: number, length: number): string => head.toString('latin1', offset, offset + length);
  if (text(0, 8) === '!<arch>\n' || text(0, 4) === '\x7fELF' || text(0x202, 4) === 'HdrS') return 'kernel';
  if (at(0, '68737173') || at(1024, 'e2e1f5e0') || at(1024 + 0x38, '53ef') || at(510, '55aa')) return 'disk';
  const packer = PACKERS.find(([magic]) => at(0, magic))?.[1];
  if (packer !== undefined || text(257, 5) === 'ustar') {
    const archive = await archiveFormat(path, packer);
    if (archive) return archive;
  }
  const formats = FILE_FORMATS.join(', ');
  throw new CliError(`what ${path} is cannot be told; say it with --format (${formats})`, ExitCode.usage);
}

/** Looks through the names in an archive. Undefined: it is none. */
async function archiveFormat(path: string, packer: string | undefined): Promise<FileFormat | undefined> {
  let format: FileFormat | undefined;
  const names = extract();
  const stop = (): void => void names.destroy();
  names.on('entry', ({ name }, stream, next) => {
    const plain = name.replace(/^\.\//, '');
    format ??= 'rootfs';
    if (plain === 'oci-layout') format = 'oci-archive';
    // Docker writes both since it keeps images as OCI does; read as OCI, they are what they were pushed as.
    if (plain === 'manifest.json' && format === 'rootfs') format = 'docker-archive';
    if (plain === 'oci-layout') return stop();
    stream.on('end', next);
    stream.resume();
  });
  const file = createReadStream(path, { highWaterMark: 1 << 20 });
  const program = packer === undefined ? undefined : spawn(packer, ['-dc'], { stdio: ['pipe', 'pipe', 'ignore'] });
  const source: Readable = program ? program.stdout : file;
  program?.on('error', () => names.destroy(new CliError(`${packer} is needed to look into ${path}`, ExitCode.usage)));
  program?.stdin.on('error', () => undefined); // it is ended when enough is known
  // Where a program stands between, its output just ends.
  file.on('error', (error) => names.destroy(error));
  if (program) file.pipe(program.stdin);
  let failure: unknown;
  await new Promise<void>((resolve) => {
    names.on('close', resolve).on('finish', resolve);
    names.on('error', (error) => {
      failure = error;
      resolve();
    });
    source.on('error', () => resolve());
    source.pipe(names);
  });
  file.destroy();
  program?.kill();
  if (failure instanceof CliError) throw failure;
  return format;
}

async function headOf(path: string): Promise<Buffer> {
  const file = await open(path, 'r');
  try {
    const buffer = Buffer.alloc(HEAD_BYTES);
    const { bytesRead } = await file.read(buffer, 0, HEAD_BYTES, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}
