import { lstatSync, mkdirSync, readdirSync, readlinkSync, renameSync, rmSync, symlinkSync, unlinkSync } from 'node:fs';
import { join, relative } from 'node:path';

/** The host side of a vsock device, in the folder of its VMM. */
export const VSOCK_SOCKET = 'vsock.sock';

/**
 * Where programs of this host reach guests by vsock, whichever incarnation of one runs: a name for each microVM that leads to the socket of
 * its VMM or, while it is suspended and wants to be woken, is a socket of this agent. It passes from one to the other in one step, so that there is
 * no instant without somebody who listens.
 */
export class GuestSockets {
  #drafts = 0;

  constructor(readonly directory: string) {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  }

  pathOf(microvmId: string): string {
    return join(this.directory, microvmId);
  }

  /** A path beside those of the microVMs, for what {@link take} is to put in the place of one. No other agent, and no other call, has it. */
  draft(microvmId: string): string {
    return `${this.pathOf(microvmId)}.${process.pid}.${++this.#drafts}`;
  }

  /** Its name leads to the VMM in this folder from now on. @throws Error of the file system. */
  leadTo(microvmId: string, folder: string): void {
    const draft = this.draft(microvmId);
    symlinkSync(relative(this.directory, join(folder, VSOCK_SOCKET)), draft);
    this.take(microvmId, draft);
  }

  /** Its name is this file from now on. Gives what {@link give} wants to know of it. @throws Error of the file system. */
  take(microvmId: string, draft: string): bigint {
    try {
      renameSync(draft, this.pathOf(microvmId));
    } catch (error) {
      rmSync(draft, { force: true });
      throw error;
    }
    return lstatSync(this.pathOf(microvmId), { bigint: true }).ino;
  }

  /** Removes what {@link take} put there, unless the name is somebody else's by now. */
  give(microvmId: string, taken: bigint): void {
    const now = lstatSync(this.pathOf(microvmId), { bigint: true, throwIfNoEntry: false });
    if (now?.ino === taken) unlinkSync(this.pathOf(microvmId));
  }

  /** The VMM in this folder is gone. */
  left(microvmId: string, folder: string): void {
    try {
      const to = join(this.directory, readlinkSync(this.pathOf(microvmId)));
      if (to === join(folder, VSOCK_SOCKET)) unlinkSync(this.pathOf(microvmId));
    } catch {
      // It leads nowhere, or is held for a suspended one.
    }
  }

  /** Removes the names of microVMs that are not `kept`, and what an agent that was killed was about to put there. Gives what it removed. */
  clear(kept: (microvmId: string) => boolean): string[] {
    const left = readdirSync(this.directory).filter((name) => {
      const [id = '', pid] = name.split('.');
      return pid === undefined ? !kept(id) : pid !== String(process.pid);
    });
    for (const name of left) rmSync(join(this.directory, name), { force: true });
    return left;
  }
}
