import type { Duplex } from 'node:stream';
import { GuestConnectionError } from './errors';
import { GUEST_FRAME, type GuestFrame } from './frame';
import { GuestExchange, takeResult } from './guest-exchange';

const RELEASE_MS = 2_000;

/** The programs of a guest stand still, and its init goes on, until this is released or its connection breaks. */
export class GuestHold {
  private constructor(
    private readonly stream: Duplex,
    private readonly frames: AsyncGenerator<GuestFrame>,
    /** Names of the disks (vdc) that nobody in the guest uses; none where its init does not tell. */
    readonly unusedDisks: readonly string[],
  ) {}

  /** Resolves when no program runs any more. @throws GuestRefusedError, GuestConnectionError, GuestProtocolError */
  static async begin(stream: Duplex, deadlineMs: number): Promise<GuestHold> {
    const exchange = new GuestExchange(stream);
    const late = setTimeout(() => stream.destroy(new Error(`no answer within ${deadlineMs} ms`)), deadlineMs);
    try {
      await exchange.send(GUEST_FRAME.hold);
      const frames = exchange.frames();
      // Not in a loop: the connection goes on behind the answer.
      const { done, value } = await frames.next();
      if (done) throw new GuestConnectionError('the guest closed the connection without an answer');
      const sentence = takeResult(value);
      return new GuestHold(stream, frames, sentence === '' ? [] : sentence.split(' '));
    } catch (error) {
      exchange.close();
      throw error;
    } finally {
      clearTimeout(late);
    }
  }

  /**
   * Resolves when the programs go on, or nothing is heard of that in time: a guest that stands still itself finds the connection
   * closed when it goes on. Never rejects.
   */
  async release(deadlineMs = RELEASE_MS): Promise<void> {
    const late = setTimeout(() => this.stream.destroy(), deadlineMs);
    this.stream.end();
    await this.frames.next().catch(() => undefined);
    clearTimeout(late);
    this.stream.destroy();
  }
}
