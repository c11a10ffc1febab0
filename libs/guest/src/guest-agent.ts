import type { Duplex, Readable } from 'node:stream';
import { GuestProgram, type ExecRequest, type ProgramEvents } from './exec';
import { GUEST_FRAME } from './frame';
import { GuestExchange } from './guest-exchange';
import { getTar, putTar } from './tar-copy';

const ANSWER_MS = 5_000;

/**
 * The agent in one guest. Each request has a connection of its own, made by `connect` (see connectToGuest), whose errors it
 * passes on.
 */
export class GuestAgent {
  constructor(private readonly connect: () => Promise<Duplex>) {}

  /** Starts a program. Await its `ended`. @throws GuestConnectionError, GuestRequestError */
  async exec(request: ExecRequest, events: ProgramEvents): Promise<GuestProgram> {
    const stream = await this.connect();
    try {
      return new GuestProgram(stream, request, events);
    } catch (error) {
      stream.destroy();
      throw error;
    }
  }

  /** See {@link putTar}. */
  async put(path: string, tar: Readable): Promise<void> {
    return putTar(await this.connect(), path, tar);
  }

  /** See {@link getTar}. */
  async get(path: string): Promise<Readable> {
    return getTar(await this.connect(), path);
  }

  ping(deadlineMs = ANSWER_MS): Promise<void> {
    return this.#ask(GUEST_FRAME.ping, undefined, deadlineMs);
  }

  /** Sets the guest's wall clock, in ns since 1970. */
  setClock(timeNs: bigint, deadlineMs = ANSWER_MS): Promise<void> {
    const body = Buffer.alloc(8);
    body.writeBigUInt64LE(timeNs);
    return this.#ask(GUEST_FRAME.clock, body, deadlineMs);
  }

  /** Resolves when the guest has heard it. */
  shutDown(how: 'poweroff' | 'reboot', deadlineMs = ANSWER_MS): Promise<void> {
    return this.#ask(GUEST_FRAME.shutdown, Buffer.from([how === 'poweroff' ? 0 : 1]), deadlineMs);
  }

  async #ask(type: number, body: Uint8Array | undefined, deadlineMs: number): Promise<void> {
    const exchange = new GuestExchange(await this.connect());
    try {
      await exchange.send(type, body);
      await exchange.result(deadlineMs);
    } finally {
      exchange.close();
    }
  }
}
