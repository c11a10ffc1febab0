import { closeSync, openSync, readdirSync, readSync } from 'node:fs';

/** Reads small files of /proc; injected, so that tests bring their own host. */
export interface ProcReader {
  /** The whole text, or undefined when the file is not there, not readable, or its process ended meanwhile. */
  read(path: string): string | undefined;
  /** Names in a directory; none when it is not there. */
  list(path: string): string[];
}

/**
 * Reads with blocking calls into one buffer that is used again and again. Meant for a thread of its own: a walk over the
 * page tables of a large guest takes tens of milliseconds in the kernel.
 */
export class BlockingProcReader implements ProcReader {
  #buffer = Buffer.allocUnsafe(64 * 1024);

  read(path: string): string | undefined {
    let fd: number;
    try {
      fd = openSync(path, 'r');
    } catch {
      return undefined;
    }
    try {
      let length = 0;
      for (;;) {
        if (length === this.#buffer.length) this.#buffer = Buffer.concat([this.#buffer], this.#buffer.length * 2);
        const count = readSync(fd, this.#buffer, length, this.#buffer.length - length, null);
        if (count === 0) return this.#buffer.toString('latin1', 0, length);
        length += count;
      }
    } catch {
      return undefined; // ESRCH: the process ended between open and read
    } finally {
      closeSync(fd);
    }
  }

  list(path: string): string[] {
    try {
      return readdirSync(path);
    } catch {
      return [];
    }
  }
}
