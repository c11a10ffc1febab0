import { constants } from 'node:fs';
import { lstat, mkdir, open, rm, stat, symlink, utimes, chmod } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import type { Header } from 'tar-stream';
import { CliError } from '../errors';

/** Thrown for names that would lead out of where is copied to. The archive comes from a guest, which may be hostile. */
export class HostileArchiveError extends CliError {}

/**
 * Unpacks the archive of one thing to `target`: into it where that is a folder, otherwise under that name. Nothing is written outside:
 * names with `..` are refused, and no symbolic link is followed that the archive brought or that lay in its way. Links are made as
 * they are; owners are left out. @throws CliError
 */
export async function unpackLocal(tar: Readable, target: string): Promise<void> {
  const isFolder = await stat(target).then(
    (stats) => stats.isDirectory(),
    () => false,
  );
  const { extract } = await import('tar-stream');
  const archive = extract();
  tar.on('error', (error) => archive.destroy(error));
  tar.pipe(archive);
  const place = placeOf(target, isFolder);
  for await (const content of archive) {
    await unpackOne(content.header, content as AsyncIterable<Buffer>, place(content.header.name));
    content.resume();
  }
}

interface Place {
  /** What nothing may leave. */
  base: string;
  /** Below it. */
  parts: string[];
}

function placeOf(target: string, isFolder: boolean): (name: string) => Place {
  return (name) => {
    const parts = name.split('/').filter((part) => part !== '' && part !== '.');
    if (name.startsWith('/') || parts.includes('..') || name.includes('\0')) {
      throw new HostileArchiveError(
        `refused, because it would leave the folder that is copied to: ${JSON.stringify(name)}`,
      );
    }
    return isFolder ? { base: target, parts } : { base: target, parts: parts.slice(1) };
  };
}

async function unpackOne(header: Header, content: AsyncIterable<Buffer>, { base, parts }: Place): Promise<void> {
  const path = join(base, ...parts);
  await makeParents(base, parts);
  const mode = (header.mode ?? 0o644) & 0o777;
  switch (header.type) {
    case 'directory':
      if (!(await isRealFolder(path))) {
        await rm(path, { force: true });
        await mkdir(path);
      }
      // What is in it is still to be written.
      return chmod(path, mode | 0o700);
    case 'symlink':
      await rm(path, { force: true });
      return symlink(header.linkname ?? '', path);
    case 'file':
    case 'contiguous-file':
      return writeFile(path, content, mode, header.mtime);
    default:
      throw new CliError(`${header.name} is a ${header.type}, which cannot be copied here`);
  }
}

/** Every folder on the way is one, and no link to one. */
async function makeParents(base: string, parts: string[]): Promise<void> {
  for (let depth = 1; depth < parts.length; depth++) {
    const path = join(base, ...parts.slice(0, depth));
    if (await isRealFolder(path)) continue;
    await mkdir(path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw new CliError(`cannot make ${path}: ${error.message}`);
      throw new HostileArchiveError(`refused, because ${path} is no folder, or a link to one`);
    });
  }
}

async function isRealFolder(path: string): Promise<boolean> {
  return lstat(path).then(
    (stats) => stats.isDirectory(),
    () => false,
  );
}

async function writeFile(
  path: string,
  content: AsyncIterable<Buffer>,
  mode: number,
  mtime: Date | undefined,
): Promise<void> {
  try {
    await rm(path, { force: true });
    const file = await open(
      path,
      constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW,
      0o600,
    );
    try {
      for await (const chunk of content) await file.writeFile(chunk);
      await file.chmod(mode);
    } finally {
      await file.close();
    }
    if (mtime) await utimes(path, mtime, mtime);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') throw new CliError(`cannot write ${path}: there is no folder ${dirname(path)}`);
    throw new CliError(`cannot write ${path}: ${message}`);
  }
}
