import { accessSync, constants, readFileSync, readdirSync, statfsSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';

export type Access = 'ok' | 'absent' | 'denied';

/** All that the checks see of a host; nothing here changes anything. */
export interface HostView {
  /** The text of a file, or undefined when it cannot be read. */
  read(path: string): string | undefined;
  list(path: string): string[];
  /** Whether this user may read and write it. */
  access(path: string): Access;
  /** MiB free for this user on the file system of the path. */
  freeMiB(path: string): number | undefined;
  readonly natsServerVersion: string | undefined;
  readonly nodeVersion: string;
  /** Where `volley up` keeps its data. */
  readonly dataFolder: string;
}

export function thisHost(dataFolder: string): HostView {
  return {
    read(path) {
      try {
        return readFileSync(path, 'utf8');
      } catch {
        return undefined;
      }
    },
    list(path) {
      try {
        return readdirSync(path);
      } catch {
        return [];
      }
    },
    access(path) {
      try {
        accessSync(path, constants.R_OK | constants.W_OK);
        return 'ok';
      } catch (error) {
        return (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'absent' : 'denied';
      }
    },
    freeMiB(path) {
      for (let at = path; ; at = at.slice(0, at.lastIndexOf('/')) || '/') {
        try {
          const { bavail, bsize } = statfsSync(at);
          return (bavail * bsize) / 1_048_576;
        } catch {
          if (at === '/') return undefined;
        }
      }
    },
    natsServerVersion: natsServerVersion(),
    nodeVersion: process.versions.node,
    dataFolder,
  };
}

function natsServerVersion(): string | undefined {
  const program =
    process.env['VOLLEY_NATS_SERVER'] ??
    (existsSync('/usr/sbin/nats-server') ? '/usr/sbin/nats-server' : 'nats-server');
  try {
    const text = execFileSync(program, ['--version'], {
      encoding: 'utf8',
      timeout: 5_000,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    return /v?(\d+\.\d+\.\d+)/.exec(text)?.[1];
  } catch {
    return undefined;
  }
}
