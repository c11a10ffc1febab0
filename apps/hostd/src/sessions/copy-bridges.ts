import { Readable, type Duplex } from 'node:stream';
import { getTar, putTar } from '#guest';
import { SESSION_FRAME, type SessionEnd } from '#protocol';
import type { Bridge, Pipe } from './bridge';
import { failedEnd } from './session-end';

/** A tar stream from the client into the guest. Credit is given for what the guest took. */
export class PutBridge implements Bridge {
  readonly done: Promise<SessionEnd>;
  readonly #chunks: Uint8Array[] = [];
  readonly #tar: Readable;
  #isAsked = false;

  constructor(
    private readonly stream: Duplex,
    path: string,
    private readonly pipe: Pipe,
  ) {
    this.#tar = new Readable({
      read: () => {
        this.#isAsked = true;
        this.#feed();
      },
    });
    this.#tar.on('error', () => undefined);
    this.done = putTar(stream, path, this.#tar).then(() => ({ code: 0 }), failedEnd);
  }

  onMessage(type: number, content: Uint8Array): void {
    if (type !== SESSION_FRAME.stdin) return;
    this.#chunks.push(content);
    this.#feed();
  }

  /** An empty message is the end. */
  #feed(): void {
    while (this.#isAsked && this.#chunks.length > 0) {
      const chunk = this.#chunks.shift()!;
      this.#isAsked = this.#tar.push(chunk.length === 0 ? null : chunk);
      this.pipe.took(chunk.length);
    }
  }

  stop(): void {
    this.stream.destroy();
  }
}

/** A file or folder of the guest to the client, as a tar stream. */
export class GetBridge implements Bridge {
  readonly done: Promise<SessionEnd>;

  constructor(
    private readonly stream: Duplex,
    path: string,
    private readonly pipe: Pipe,
  ) {
    this.done = this.#copy(path).catch(failedEnd);
  }

  async #copy(path: string): Promise<SessionEnd> {
    const tar = await getTar(this.stream, path);
    this.pipe.send(SESSION_FRAME.started);
    for await (const chunk of tar) await this.pipe.write(SESSION_FRAME.stdout, chunk as Buffer);
    return { code: 0 };
  }

  onMessage(): void {
    // Nothing is said to it.
  }

  stop(): void {
    this.stream.destroy();
  }
}
