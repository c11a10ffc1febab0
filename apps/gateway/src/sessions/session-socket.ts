import type { Logger } from 'pino';
import type { WebSocket } from 'ws';
import {
  decodeSize,
  encodeCredit,
  OperationError,
  SESSION_FRAME,
  SESSION_WINDOW,
  SessionOpen,
  type SessionEnd,
} from '#protocol';
import type { GuestSession, SessionPlace } from './guest-session';
import type { SessionOpener } from './session-opener';

/** How long a client may take to say what it wants to run. */
const REQUEST_MS = 10_000;
const PING_MS = 15_000;
/** Missed answers until the client counts as gone. */
const MISSED_PINGS = 3;

/** Status codes of WebSockets. */
const NORMAL = 1000;
const POLICY = 1008;

/**
 * One WebSocket with one session behind it. Every binary message is a byte that says what it is and its content, as in
 * libs/protocol/src/session.ts. A client that sends much more input than it was given credit for is cut off: were it only not
 * read, its end would not be seen either.
 */
export class SessionSocket {
  #session: GuestSession | undefined;
  /** Messages that came before there was a session: few, as nothing is read while it is opened. */
  readonly #early: [Buffer, boolean][] = [];
  /** Takes the first message, when that says what to run. */
  #onRequest: ((data: Buffer, isBinary: boolean) => void) | undefined;
  #missed = 0;
  #isOver = false;
  #sending: Promise<void> = Promise.resolve();
  /** Bytes of input that are not sent on yet. */
  #waiting = 0;
  #ping: NodeJS.Timeout;

  constructor(
    private readonly socket: WebSocket,
    private readonly opener: SessionOpener,
    private readonly place: SessionPlace,
    private readonly log: Logger,
  ) {
    this.#ping = setInterval(() => {
      if (++this.#missed > MISSED_PINGS) socket.terminate();
      else socket.ping();
    }, PING_MS);
    socket.on('message', (data: Buffer, isBinary: boolean) => {
      const onRequest = this.#onRequest;
      if (onRequest) onRequest(data, isBinary);
      else if (this.#session) this.#receive(this.#session, data, isBinary);
      else this.#early.push([data, isBinary]);
    });
    socket.on('pong', () => (this.#missed = 0));
    socket.on('error', (error) => log.debug({ err: error }, 'a WebSocket broke'));
    socket.on('close', () => this.#over());
  }

  /** Waits for what to run, as JSON in the first message, and runs it. */
  serveExec(): void {
    const late = setTimeout(
      () => this.#finish(refusal('invalid', 'send what to run, as JSON, as the first message')),
      REQUEST_MS,
    );
    this.socket.once('close', () => clearTimeout(late));
    this.#onRequest = (data, isBinary) => {
      this.#onRequest = undefined;
      clearTimeout(late);
      const open = isBinary ? undefined : execIn(data.toString());
      if (!open) return this.#finish(refusal('invalid', 'the first message must be JSON that says what to run'));
      if (open instanceof OperationError) return this.#finish({ error: open.toBody() });
      void this.serve(open);
    };
  }

  /** Opens the session and joins it to the socket. Never rejects. */
  async serve(open: SessionOpen): Promise<void> {
    // Nothing is read before there is somebody to read it for.
    this.socket.pause();
    try {
      const session = await this.opener.open(this.place, open, {
        started: () => this.#send(SESSION_FRAME.started),
        output: (stream, bytes, took) =>
          this.#send(stream === 'stdout' ? SESSION_FRAME.stdout : SESSION_FRAME.stderr, bytes, took),
        credit: (bytes) => this.#send(SESSION_FRAME.credit, encodeCredit(bytes)),
      });
      this.#session = session;
      if (this.#isOver) return session.close();
      for (const [data, isBinary] of this.#early.splice(0)) this.#receive(session, data, isBinary);
      void session.ended.then((end) => this.#finish(end));
    } catch (error) {
      if (!(error instanceof OperationError)) this.log.error({ err: error }, 'a session was not opened');
      this.#finish(
        error instanceof OperationError ? { error: error.toBody() } : refusal('internal', 'the gateway failed'),
      );
    } finally {
      this.socket.resume();
    }
  }

  close(status: number, reason: string): void {
    this.socket.close(status, reason);
    this.#over();
  }

  #send(type: number, content: Uint8Array = new Uint8Array(), sent?: () => void): void {
    if (this.socket.readyState !== this.socket.OPEN) return;
    const message = Buffer.allocUnsafe(1 + content.length);
    message[0] = type;
    message.set(content, 1);
    this.socket.send(message, (error) => {
      if (!error) sent?.();
    });
  }

  #receive(session: GuestSession, data: Buffer, isBinary: boolean): void {
    if (!isBinary || data.length === 0)
      return this.#finish(refusal('invalid', 'this is no message of a session'), POLICY);
    const content = data.subarray(1);
    switch (data[0]) {
      case SESSION_FRAME.stdin:
        return this.#input(session, content);
      case SESSION_FRAME.resize: {
        const size = decodeSize(content);
        return size && session.resize(size.rows, size.columns);
      }
      case SESSION_FRAME.signal:
        return content.length === 1 ? session.signal(content[0]!) : undefined;
      case SESSION_FRAME.close:
        return session.close();
      default:
        return; // signs of life, and what later versions say
    }
  }

  #input(session: GuestSession, content: Uint8Array): void {
    this.#waiting += content.length;
    if (this.#waiting > session.credit + SESSION_WINDOW) {
      return this.#finish(refusal('invalid', 'more input was sent than credit was given for'), POLICY);
    }
    this.#sending = this.#sending
      .then(() => (content.length === 0 ? session.endInput() : session.write(content)))
      .catch(() => undefined) // it is over, and says so itself
      .then(() => void (this.#waiting -= content.length));
  }

  #finish(end: SessionEnd, status = NORMAL): void {
    if (this.#isOver) return;
    this.#send(SESSION_FRAME.exited, Buffer.from(JSON.stringify(this.opener.told(this.place, end))));
    this.socket.resume();
    this.close(status, '');
  }

  #over(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    clearInterval(this.#ping);
    this.#session?.close();
  }
}

function refusal(code: 'invalid' | 'internal', message: string): SessionEnd {
  return { error: { code, message } };
}

/** What an exec asks for, or why that cannot be understood. */
function execIn(text: string): Extract<SessionOpen, { kind: 'exec' }> | OperationError | undefined {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return undefined;
  }
  const parsed = SessionOpen.safeParse({ ...(json as object), kind: 'exec' });
  if (parsed.success) return parsed.data as Extract<SessionOpen, { kind: 'exec' }>;
  const details = parsed.error.issues.map(({ path, message }) => ({ path: path.map(String).join('.'), message }));
  return new OperationError('invalid', details.map(({ path, message }) => `${path}: ${message}`).join('; '), details);
}
