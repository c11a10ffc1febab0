import type { Readable, Writable } from 'node:stream';
import type { WebSocket } from 'ws';
import type * as Protocol from '#protocol';
import type { SessionEnd } from '#protocol';

export interface SessionStreams {
  stdout: Writable;
  stderr: Writable;
}

/** A session on a WebSocket that was opened paused, between streams of this process. Output waits for whoever reads it, and the guest with it. */
export class RemoteSession {
  /** How it ended. Never rejects: a connection that broke is an error in it. */
  readonly ended: Promise<SessionEnd>;
  readonly started: Promise<void>;
  #credit: number;
  #onCredit: (() => void) | undefined;
  #isOver = false;

  constructor(
    private readonly socket: WebSocket,
    private readonly streams: SessionStreams,
    /** Loaded by the caller, once it is needed. */
    private readonly protocol: typeof Protocol,
  ) {
    const { SESSION_FRAME } = protocol;
    this.#credit = protocol.SESSION_WINDOW;
    let finish!: (end: SessionEnd) => void;
    let begin!: () => void;
    this.ended = new Promise((resolve) => (finish = resolve));
    this.started = new Promise((resolve) => (begin = resolve));
    socket.on('message', (data: Buffer) => {
      const content = data.subarray(1);
      switch (data[0]) {
        case SESSION_FRAME.started:
          return begin();
        case SESSION_FRAME.stdout:
          return this.#write(streams.stdout, content);
        case SESSION_FRAME.stderr:
          return this.#write(streams.stderr, content);
        case SESSION_FRAME.credit:
          this.#credit += protocol.decodeCredit(content) ?? 0;
          return this.#onCredit?.();
        case SESSION_FRAME.exited:
          return finish(protocol.SessionEnd.parse(JSON.parse(content.toString())));
        default:
          return; // of a later version
      }
    });
    const over = (): void => {
      this.#isOver = true;
      finish({ error: { code: 'unavailable', message: 'the connection to the gateway broke' } });
    };
    socket.on('close', over);
    if (socket.readyState === socket.CLOSED) over();
    else socket.resume();
  }

  #write(stream: Writable, content: Buffer): void {
    if (stream.write(content)) return;
    this.socket.pause();
    stream.once('drain', () => this.socket.resume());
  }

  #send(type: number, content: Uint8Array = new Uint8Array()): void {
    if (!this.#isOver) this.socket.send(Buffer.concat([Uint8Array.of(type), content]));
  }

  /** Sends all of a stream as standard input, no faster than the guest takes it. `filter` sees each part first; undefined ends it. */
  feed(input: Readable, filter: (part: Buffer) => Buffer | undefined = (part) => part): void {
    const { SESSION_CONTENT_MAX, SESSION_FRAME } = this.protocol;
    input.on('data', (chunk: Buffer) => {
      const part = filter(chunk);
      if (part === undefined) return;
      for (let at = 0; at < part.length; at += SESSION_CONTENT_MAX) {
        this.#send(SESSION_FRAME.stdin, part.subarray(at, at + SESSION_CONTENT_MAX));
      }
      this.#credit -= part.length;
      if (this.#credit <= 0) input.pause();
    });
    this.#onCredit = () => {
      if (this.#credit > 0) input.resume();
    };
    input.once('end', () => this.#send(SESSION_FRAME.stdin));
    input.once('error', () => this.close());
    void this.ended.then(() => input.pause());
  }

  resize(rows: number, columns: number): void {
    this.#send(this.protocol.SESSION_FRAME.resize, this.protocol.encodeSize(rows, columns));
  }

  signal(number: number): void {
    this.#send(this.protocol.SESSION_FRAME.signal, Uint8Array.of(number));
  }

  /** Ends it from here. */
  close(): void {
    this.#send(this.protocol.SESSION_FRAME.close);
    this.socket.close();
  }

  /** Resolves when all output was taken by its streams. */
  async flushed(): Promise<void> {
    await Promise.all(
      [this.streams.stdout, this.streams.stderr].map(
        (stream) => new Promise<void>((resolve) => stream.write('', () => resolve())),
      ),
    );
  }
}
