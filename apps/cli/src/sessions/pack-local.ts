import { createReadStream } from 'node:fs';
import { lstat, readdir, readlink, realpath } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Pack } from 'tar-stream';
import { CliError } from '../errors';
import { ExitCode } from '../exit-code';

/**
 * A file or folder of this machine as a tar stream, under the last part of its path. It belongs to root in there: users of this
 * machine mean nothing in a guest. Sockets, pipes and devices are left out. @throws CliError when it is not there.
 */
export async function packLocal(path: string): Promise<Readable> {
  // A link that is asked for is followed; links further down are copied as links.
  const top = await realpath(path).catch((error: NodeJS.ErrnoException) => {
    throw new CliError(`cannot copy ${path}: ${error.message}`, ExitCode.usage);
  });
  const { pack } = await import('tar-stream');
  const archive = pack();
  const name = basename(path.replace(/\/+$/, '')) || '.';
  addTree(archive, top, name === '.' || name === '..' ? basename(top) || '.' : name).then(
    () => archive.finalize(),
    (error: Error) => archive.destroy(error),
  );
  return Readable.from(archive, { objectMode: false });
}

async function addTree(archive: Pack, path: string, name: string): Promise<void> {
  const stats = await lstat(path);
  const header = { name, mode: stats.mode & 0o7777, mtime: stats.mtime, uid: 0, gid: 0 };
  if (stats.isSymbolicLink()) {
    archive.entry({ ...header, type: 'symlink', linkname: await readlink(path) });
  } else if (stats.isDirectory()) {
    archive.entry({ ...header, name: `${name}/`, type: 'directory' });
    for (const child of (await readdir(path)).sort()) await addTree(archive, join(path, child), `${name}/${child}`);
  } else if (stats.isFile()) {
    const entry = archive.entry({ ...header, size: stats.size });
    entry.on('error', () => undefined); // the archive's own error tells it
    // No more than was told, should it grow meanwhile; tar-stream complains if it shrinks.
    if (stats.size === 0) entry.end(undefined);
    else await pipeline(createReadStream(path, { end: stats.size - 1 }), entry as unknown as NodeJS.WritableStream);
  }
}
