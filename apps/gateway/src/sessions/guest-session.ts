import { randomUUID } from 'node:crypto';
import { SessionChannel, type BusClient } from '#bus';
import type { Principal } from '#tenancy';
import { encodeSize, openSession, OperationError, SESSION_FRAME, SessionEnd, type SessionOpen } from '#protocol';

export interface SessionEvents {
  /** The command runs, or the first of the files is on its way. */
  started?(): void;
  /** `took` is to be called when it was dealt with; until then it counts against the window. May come before {@link GuestSession.open} has resolved. */
  output(stream: 'stdout' | 'stderr', bytes: Uint8Array, took: () => void): void;
  /** So many more bytes may be written. */
  credit?(bytes: number): void;
}

export interface SessionPlace {
  hostId: string;
  microvmId: string;
  who: Principal;
}

/** The client's side of a session: what the gateway holds for somebody who runs a command or copies files. */
export class GuestSession {
  /** How it ended. Never rejects: what went wrong is in its `error`. */
  readonly ended: Promise<SessionEnd>;
  readonly #channel: SessionChannel;
  #finish!: (end: SessionEnd) => void;

  private constructor(
    bus: BusClient,
    hostId: string,
    readonly id: string,
    private readonly events: SessionEvents,
  ) {
    this.ended = new Promise((resolve) => (this.#finish = resolve));
    this.#channel = new SessionChannel({
      connection: bus.connection,
      hostId,
      sessionId: id,
      side: 'client',
      onMessage: (type, content) => this.#receive(type, content),
      onCredit: (bytes) => events.credit?.(bytes),
      onEnd: (error) => {
        const reason = error ?? new OperationError('unavailable', 'the host closed the session without a word');
        this.#finish({ error: reason.toBody() });
      },
    });
  }

  /** @throws OperationError why the host does not open it, or does not answer. */
  static async open(
    bus: BusClient,
    { hostId, microvmId, who }: SessionPlace,
    open: SessionOpen,
    events: SessionEvents,
  ): Promise<GuestSession> {
    // Listening first: the session may be over before its host's answer is here.
    const session = new GuestSession(bus, hostId, randomUUID(), events);
    try {
      await bus.call(openSession, { sessionId: session.id, microvmId, open, by: who.name }, { values: { hostId } });
    } catch (error) {
      session.close();
      throw error;
    }
    return session;
  }

  /** How many bytes may be written without waiting. */
  get credit(): number {
    return this.#channel.credit;
  }

  /** Sends standard input; resolves when all of it is on its way. Rejects when the session is over. */
  write(bytes: Uint8Array): Promise<void> {
    return this.#channel.write(SESSION_FRAME.stdin, bytes);
  }

  endInput(): void {
    this.#channel.send(SESSION_FRAME.stdin);
  }

  resize(rows: number, columns: number): void {
    this.#channel.send(SESSION_FRAME.resize, encodeSize(rows, columns));
  }

  signal(number: number): void {
    this.#channel.send(SESSION_FRAME.signal, Uint8Array.of(number));
  }

  /** Ends it from this side: a command that still runs is ended. */
  close(error: SessionEnd['error'] = { code: 'unavailable', message: 'the session was closed' }): void {
    this.#channel.send(SESSION_FRAME.close);
    this.#channel.end();
    this.#finish({ error });
  }

  #receive(type: number, content: Uint8Array): void {
    switch (type) {
      case SESSION_FRAME.started:
        return this.events.started?.();
      case SESSION_FRAME.stdout:
        return this.events.output('stdout', content, () => this.#channel.took(content.length));
      case SESSION_FRAME.stderr:
        return this.events.output('stderr', content, () => this.#channel.took(content.length));
      case SESSION_FRAME.exited:
        this.#channel.end();
        return this.#finish(endIn(content));
      default:
        return; // of a later version
    }
  }
}

function endIn(content: Uint8Array): SessionEnd {
  try {
    return SessionEnd.parse(JSON.parse(new TextDecoder().decode(content)));
  } catch {
    return { error: { code: 'internal', message: 'the host said how the session ended, but not in words known here' } };
  }
}
