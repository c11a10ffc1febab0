import { closeSync, fstatSync, ftruncateSync, openSync, writeSync } from 'node:fs';

const PIECE_BYTES = 64 * 1024;

/**
 * A file of zeros beside the journal. When the disk is full, pieces of it are given up, so that what ends can still be written down;
 * it is filled again when there is room.
 */
export class DiskReserve {
  readonly #fd: number;

  /** Made when it is not there; a whole number of pieces of 64 KiB. */
  constructor(
    path: string,
    private readonly bytes = 16 * PIECE_BYTES,
  ) {
    this.#fd = openSync(path, 'a', 0o600);
  }

  get isWhole(): boolean {
    return this.#size >= this.bytes;
  }

  get #size(): number {
    return fstatSync(this.#fd).size;
  }

  /** Gives up a piece. False: there is none left. */
  spend(): boolean {
    const left = this.#size;
    if (left === 0) return false;
    ftruncateSync(this.#fd, Math.max(0, left - PIECE_BYTES));
    return true;
  }

  /** Takes back what was given up, as far as there is room. Whether it is whole. */
  refill(): boolean {
    if (this.isWhole) return true; // asked at every start
    const zeros = Buffer.alloc(PIECE_BYTES);
    try {
      while (!this.isWhole) writeSync(this.#fd, zeros);
      return true;
    } catch {
      return false; // the disk is full, or failing: then the journal says so itself
    }
  }

  close(): void {
    closeSync(this.#fd);
  }
}
