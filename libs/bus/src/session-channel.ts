import type { NatsConnection, Subscription } from 'nats';
import {
  decodeCredit,
  decodeSessionMessage,
  encodeCredit,
  encodeSessionMessage,
  isSessionContent,
  OperationError,
  SESSION_CONTENT_MAX,
  SESSION_FRAME,
  SESSION_WINDOW,
  sessionToClient,
  sessionToGuest,
} from '#protocol';

export interface SessionChannelOptions {
  connection: NatsConnection;
  /** The host of the microVM. */
  hostId: string;
  sessionId: string;
  /** Which end of the session this is. */
  side: 'guest' | 'client';
  /** Everything but credit, signs of life and the other side's close. */
  onMessage: (type: number, content: Uint8Array) => void;
  /** The other side took so many bytes of content: so many more may be sent. */
  onCredit?: (bytes: number) => void;
  /** Once, unless {@link SessionChannel.end} was called first: the other side closed (no error), or the session broke. */
  onEnd: (error: OperationError | undefined) => void;
  /** Default 10 s. */
  aliveMs?: number;
  /** Without a message for so long the other side counts as gone. Default 30 s. */
  silenceMs?: number;
}

/** Credit is given in steps, not for every byte. */
const CREDIT_STEP = SESSION_WINDOW / 8;

/**
 * One side of a session's stream: numbers messages and notices gaps, counts credit in both directions, and tells when the other
 * side has gone. See libs/protocol/src/session.ts.
 */
export class SessionChannel {
  readonly #subscription: Subscription;
  readonly #sendTo: string;
  #sent = 0;
  #received = 0;
  /** Bytes of content we may still send. */
  #credit = SESSION_WINDOW;
  /** Bytes of content the other side may still send. */
  #granted = SESSION_WINDOW;
  /** Bytes that were taken and not yet granted anew. */
  #taken = 0;
  #over = false;
  /** Of our own, since the other side was heard. They are counted, not timed: while this process stands still it hears nobody. */
  #beats = 0;
  #timer: NodeJS.Timeout;
  #waiting: { resolve: () => void; reject: (error: Error) => void }[] = [];

  constructor(private readonly options: SessionChannelOptions) {
    const { connection, hostId, sessionId, side, aliveMs = 10_000, silenceMs = 30_000 } = options;
    const [client, guest] = [sessionToClient(hostId, sessionId), sessionToGuest(hostId, sessionId)];
    this.#sendTo = side === 'guest' ? client : guest;
    this.#subscription = connection.subscribe(side === 'guest' ? guest : client, {
      callback: (error, message) => {
        if (error) this.#break(new OperationError('unavailable', `the session broke: ${error.message}`));
        else this.#receive(message.data);
      },
    });
    this.#timer = setInterval(() => {
      if (++this.#beats * aliveMs > silenceMs) {
        const message = `the other side of the session has said nothing for ${Math.round(silenceMs / 1_000)} s`;
        return this.#break(new OperationError('unavailable', message));
      }
      this.send(SESSION_FRAME.alive);
    }, aliveMs);
    this.#timer.unref();
  }

  get isOver(): boolean {
    return this.#over;
  }

  /** How many bytes of content may be sent now. */
  get credit(): number {
    return this.#credit;
  }

  /** Resolves when the server knows that we listen: nothing is missed from then on. */
  ready(): Promise<void> {
    return this.options.connection.flush();
  }

  /** Sends a message that takes no credit. After the end it does nothing. */
  send(type: number, content?: Uint8Array): void {
    if (this.#over || this.options.connection.isClosed()) return;
    try {
      this.options.connection.publish(this.#sendTo, encodeSessionMessage(type, this.#sent++, content));
    } catch {
      // Draining or closed this very moment: the session ends with its service.
    }
  }

  /** Sends content as credit allows. Rejects with the reason when the session ends before. */
  async write(type: number, content: Uint8Array): Promise<void> {
    for (let at = 0; at < content.length;) {
      if (this.#over) throw new OperationError('unavailable', 'the session is over');
      if (this.#credit === 0) {
        await new Promise<void>((resolve, reject) => this.#waiting.push({ resolve, reject }));
        continue;
      }
      const part = content.subarray(at, at + Math.min(this.#credit, SESSION_CONTENT_MAX));
      this.#credit -= part.length;
      at += part.length;
      this.send(type, part);
    }
  }

  /** Content of the other side was dealt with: it may send so much more. */
  took(bytes: number): void {
    this.#taken += bytes;
    if (this.#taken < CREDIT_STEP && this.#granted > 0) return;
    this.#granted += this.#taken;
    this.send(SESSION_FRAME.credit, encodeCredit(this.#taken));
    this.#taken = 0;
  }

  /** Ends this side without a word; say {@link SESSION_FRAME.exited} or {@link SESSION_FRAME.close} before. */
  end(): void {
    this.#stop(new OperationError('unavailable', 'the session is over'));
  }

  #receive(data: Uint8Array): void {
    if (this.#over) return;
    const message = decodeSessionMessage(data);
    if (!message) return this.#break(new OperationError('invalid', 'the session got what is no message of a session'));
    if (message.number !== this.#received) {
      return this.#break(new OperationError('unavailable', 'messages of the session were lost on their way'));
    }
    this.#received++;
    this.#beats = 0;
    const { type, content } = message;
    if (type === SESSION_FRAME.alive) return;
    if (type === SESSION_FRAME.close) return this.#break(undefined);
    if (type === SESSION_FRAME.credit) return this.#allow(decodeCredit(content));
    if (isSessionContent(type)) {
      if (content.length > this.#granted) {
        return this.#break(new OperationError('invalid', 'the other side of the session sent more than it may'));
      }
      this.#granted -= content.length;
    }
    this.options.onMessage(type, content);
  }

  #allow(bytes: number | undefined): void {
    if (bytes === undefined || this.#credit + bytes > SESSION_WINDOW) {
      return this.#break(
        new OperationError('invalid', 'the other side of the session gave credit for what it did not get'),
      );
    }
    this.#credit += bytes;
    for (const { resolve } of this.#waiting.splice(0)) resolve();
    this.options.onCredit?.(bytes);
  }

  #break(error: OperationError | undefined): void {
    if (this.#over) return;
    // The other side need not wait for its own timer.
    if (error) this.send(SESSION_FRAME.close);
    this.#stop(error ?? new OperationError('unavailable', 'the other side closed the session'));
    this.options.onEnd(error);
  }

  #stop(error: OperationError): void {
    if (this.#over) return;
    this.#over = true;
    clearInterval(this.#timer);
    this.#subscription.unsubscribe();
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }
}
