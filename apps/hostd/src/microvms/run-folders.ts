import { createHash } from 'node:crypto';
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  realpathSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from 'node:fs';
import { rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { MicrovmSpec } from '#protocol';
import { GuestSockets } from './guest-sockets';

const TMPFS_MAGIC = 0x01021994;

/** Thrown at start when there is no place for run folders. */
export class NoRunDirectoryError extends Error {
  override readonly name = 'NoRunDirectoryError';
}

/** The first of the usual places that is a tmpfs we may write to. @throws NoRunDirectoryError */
export function defaultRunDirectory(): string {
  for (const candidate of ['/run/volley', '/dev/shm']) {
    try {
      const existing = candidate === '/run/volley' ? dirname(candidate) : candidate;
      if (statfsSync(existing).type !== TMPFS_MAGIC) continue;
      mkdirSync(candidate, { recursive: true, mode: 0o711 });
      accessSync(candidate, constants.W_OK | constants.X_OK);
      return candidate;
    } catch {
      continue;
    }
  }
  throw new NoRunDirectoryError(
    'neither /run nor /dev/shm is a tmpfs that this user may write to; mount one and name it by VOLLEY_RUN_DIR',
  );
}

/** Names a data directory in a few characters: the same directory, the same name. */
export function digestOf(dataDirectory: string): string {
  return createHash('sha256').update(realpathSync(dataDirectory)).digest('hex').slice(0, 12);
}

/** File in the folder of an incarnation that may run elsewhere once the lease of this host is over; for who must end it then. */
const MAY_MOVE = 'may-move';

/** Whether an incarnation must not outlive the lease, by its folder. */
export function mayMove(folder: string): boolean {
  return existsSync(join(folder, MAY_MOVE));
}

/** A folder for each incarnation, with its page file and control socket, on tmpfs: gone after a reboot, as its VMM is. */
export class RunFolders {
  readonly guestSockets: GuestSockets;

  constructor(readonly root: string) {
    mkdirSync(root, { recursive: true, mode: 0o700 });
    this.guestSockets = new GuestSockets(join(root, 'vsock'));
  }

  pathOf(microvmId: string, epoch: number): string {
    return join(this.root, `${microvmId}-${epoch}`);
  }

  /** Makes an empty folder, clearing away what an interrupted start may have left. The caller knows that nothing runs in it. */
  create(microvmId: string, epoch: number, spec: Pick<MicrovmSpec, 'onHostLoss'>): string {
    const path = this.pathOf(microvmId, epoch);
    try {
      mkdirSync(path, { mode: 0o700 });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      rmSync(path, { recursive: true, force: true });
      mkdirSync(path, { mode: 0o700 });
    }
    if (spec.onHostLoss === 'reschedule') writeFileSync(join(path, MAY_MOVE), '', { mode: 0o600 });
    return path;
  }

  async remove(microvmId: string, epoch: number): Promise<void> {
    await rm(this.pathOf(microvmId, epoch), { recursive: true, force: true });
  }

  /** All folders that are there, by name. */
  list(): { microvmId: string; epoch: number; path: string }[] {
    const found: { microvmId: string; epoch: number; path: string }[] = [];
    for (const name of readdirSync(this.root)) {
      const match = /^([0-9a-z]+)-(\d+)$/.exec(name);
      if (match) found.push({ microvmId: match[1]!, epoch: Number(match[2]), path: join(this.root, name) });
    }
    return found;
  }
}
