import type { Duplex, Readable } from 'node:stream';
import { GuestProgram, type ExecRequest, type ProgramEvents } from './exec';
import { GUEST_FRAME } from './frame';
import { GuestExchange } from './guest-exchange';
import { GuestHold } from './guest-hold';
import { encodeRestored, type RestoredGuest } from './restored';
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

  /** See {@link GuestHold}. @throws GuestRefusedError when a program does not come to rest. */
  async hold(deadlineMs = ANSWER_MS): Promise<GuestHold> {
    return GuestHold.begin(await this.connect(), deadlineMs);
  }

  /**
   * Tells a guest that went on from a snapshot who it is now. Resolves when it is, and has said that it is ready; may be asked again.
   *
   * @throws GuestRefusedError when a part of it failed; the guest's programs are then as they were.
   */
  restored(guest: RestoredGuest, deadlineMs = ANSWER_MS): Promise<void> {
    return this.#ask(GUEST_FRAME.restored, encodeRestored(guest), deadlineMs);
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
