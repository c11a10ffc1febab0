import { randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { HostId } from '#protocol';
import { hostIdFrom } from './agent-config';

/** Thrown at start when a host directory belongs to another host, or another agent works on it. For the operator as it is. */
export class HostDirectoryError extends Error {
  override readonly name = 'HostDirectoryError';
}

/**
 * The id of the host whose journal lies in this directory; made and kept on first use.
 *
 * @throws HostDirectoryError when the directory is that of a host with another id: its microVMs would appear to be on two hosts.
 */
export function hostIdOf(directory: string, wanted: string | undefined): string {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const path = join(directory, 'host-id');
  const kept = readKept(path);
  if (kept !== undefined) {
    if (wanted !== undefined && wanted !== kept) {
      throw new HostDirectoryError(
        `${directory} is the directory of host ${kept}, but the agent is to be host ${wanted}; name another directory ` +
          `(VOLLEY_HOST_DIR), or go on as ${kept}`,
      );
    }
    return kept;
  }
  const id = wanted ?? hostIdFrom(randomBytes(3).toString('hex'));
  const fd = openSync(`${path}.new`, 'w', 0o600);
  writeSync(fd, `${id}\n`);
  fsyncSync(fd);
  closeSync(fd);
  renameSync(`${path}.new`, path);
  return id;
}

function readKept(path: string): string | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8').trim();
  } catch {
    return undefined;
  }
  const parsed = HostId.safeParse(text);
  if (!parsed.success) throw new HostDirectoryError(`${path} does not hold a host id; restore it or remove it`);
  return parsed.data;
}

/**
 * Makes sure that one agent works on a host directory: two would write one journal. Held by an abstract socket, which the kernel
 * gives back when the process ends, however it ends. @throws HostDirectoryError when another agent holds it.
 */
export async function lockHostDirectory(directory: string, digest: string): Promise<Server> {
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    // For good: a connection that cannot be accepted later is none of the lock's.
    server.on('error', (error: NodeJS.ErrnoException) =>
      reject(
        error.code === 'EADDRINUSE'
          ? new HostDirectoryError(`another host agent works on ${directory}; end it first`)
          : error,
      ),
    );
    server.listen(`\0volley-hostd-${digest}`, resolve);
  });
  server.unref();
  return server;
}
