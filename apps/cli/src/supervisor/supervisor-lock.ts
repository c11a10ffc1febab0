import { linkSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import type { DataFolder } from './data-folder';
import { identify, isAlive, type ProcessIdentity } from './process-identity';

/** Thrown when another living supervisor holds the data folder. */
export class FolderInUseError extends Error {
  override readonly name = 'FolderInUseError';
  constructor(
    readonly folder: string,
    readonly holder: ProcessIdentity | undefined,
  ) {
    super(`${folder} is in use by ${holder ? `the supervisor with pid ${holder.pid}` : 'another supervisor'}`);
  }
}

/**
 * Two supervisors never work on one data folder. What decides is a socket in the kernel's abstract name space, named after
 * the folder's inode: the kernel gives it to one process and takes it back when that process dies, however it dies. The lock
 * file beside it tells people and `volley status` who holds it; one left behind is known by pid and start time.
 */
export class SupervisorLock {
  private constructor(
    private readonly folder: DataFolder,
    private readonly socket: Server,
  ) {}

  /** @throws FolderInUseError */
  static async take(folder: DataFolder): Promise<SupervisorLock> {
    const { dev, ino } = statSync(folder.path);
    const socket = createServer((connection) => connection.destroy());
    try {
      await new Promise<void>((resolve, reject) => {
        // For good: a connection that cannot be accepted later is none of the lock's.
        socket.on('error', reject);
        socket.listen(`\0volley-supervisor-${dev}-${ino}`, resolve);
      });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') {
        throw new FolderInUseError(folder.path, SupervisorLock.holder(folder));
      }
      throw error;
    }
    socket.unref();
    try {
      const holder = SupervisorLock.holder(folder);
      // Another network name space has other abstract names; the file still speaks.
      if (holder && holder.pid !== process.pid) throw new FolderInUseError(folder.path, holder);
      claim(folder);
    } catch (error) {
      socket.close();
      throw error;
    }
    return new SupervisorLock(folder, socket);
  }

  /** Who holds the folder now; undefined when nobody does, or the holder has died. */
  static holder(folder: DataFolder): ProcessIdentity | undefined {
    try {
      const identity = JSON.parse(readFileSync(folder.lockFile, 'utf8')) as ProcessIdentity;
      return isAlive(identity) ? identity : undefined;
    } catch {
      return undefined;
    }
  }

  release(): void {
    rmSync(this.folder.lockFile, { force: true });
    this.socket.close();
  }
}

function claim(folder: DataFolder): void {
  const draft = `${folder.lockFile}.${process.pid}.new`;
  writeFileSync(draft, JSON.stringify(identify(process.pid)), { mode: 0o600 });
  try {
    rmSync(folder.lockFile, { force: true });
    linkSync(draft, folder.lockFile); // fails when another appeared meanwhile
  } finally {
    rmSync(draft, { force: true });
  }
}
