import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { GuestConnectionError, GuestProtocolError, GuestRefusedError } from './errors';
import { encodeFrame, FrameDecoder, GUEST_FRAME, type GuestFrame } from './frame';

/** One exchange with a guest's agent on a connection of its own: frames out, frames in, with back-pressure both ways. */
export class GuestExchange {
  readonly #decoder = new FrameDecoder();
  #failure: GuestConnectionError | undefined;

  constructor(private readonly stream: Duplex) {
    // Errors are told where something is waited for.
    stream.on(
      'error',
      (error) => (this.#failure ??= new GuestConnectionError(`the connection to the guest broke: ${error.message}`)),
    );
  }

  /** Resolves when more may be sent. @throws GuestConnectionError */
  async send(type: number, body?: Uint8Array): Promise<void> {
    this.#throwFailure();
    if (this.stream.destroyed || this.stream.writableEnded)
      throw new GuestConnectionError('the connection to the guest is closed');
    if (this.stream.write(encodeFrame(type, body))) return;
    const stopped = new AbortController();
    const { signal } = stopped;
    try {
      await Promise.race([once(this.stream, 'drain', { signal }), once(this.stream, 'close', { signal })]);
    } catch {
      // An error event: it is kept.
    } finally {
      stopped.abort();
    }
    this.#throwFailure();
  }

  #throwFailure(): void {
    if (this.#failure) throw this.#failure;
  }

  /** Frames of the guest until it closes. Reads no more than is asked for. @throws GuestConnectionError, GuestProtocolError */
  async *frames(): AsyncGenerator<GuestFrame> {
    try {
      for await (const chunk of this.stream) yield* this.#decoder.push(chunk as Buffer);
    } catch (error) {
      if (error instanceof GuestProtocolError) throw error;
      throw this.#failure ?? new GuestConnectionError(`the connection to the guest broke: ${(error as Error).message}`);
    }
  }

  /** Waits for RESULT, which must be all that comes. @throws GuestRefusedError when it says so. */
  async result(deadlineMs: number): Promise<void> {
    const late = setTimeout(() => this.stream.destroy(new Error(`no answer within ${deadlineMs} ms`)), deadlineMs);
    try {
      for await (const frame of this.frames()) {
        takeResult(frame);
        return;
      }
      throw new GuestConnectionError('the guest closed the connection without an answer');
    } finally {
      clearTimeout(late);
    }
  }

  close(): void {
    this.stream.destroy();
  }
}

/** Gives what the guest says to it, mostly nothing. @throws GuestRefusedError when it is a refusal, GuestProtocolError when it is no RESULT. */
export function takeResult({ type, body }: GuestFrame): string {
  if (type !== GUEST_FRAME.result || body.length < 4)
    throw new GuestProtocolError(`the guest answered with a frame ${type}`);
  const errno = body.readInt32LE(0);
  if (errno !== 0) throw new GuestRefusedError(errno, body.toString('utf8', 4) || `the guest refused (errno ${errno})`);
  return body.toString('utf8', 4);
}
