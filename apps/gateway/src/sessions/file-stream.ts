import { Readable } from 'node:stream';
import { OperationError } from '#protocol';
import type { GuestSession, SessionPlace } from './guest-session';
import type { SessionOpener } from './session-opener';

/** The tar archive of something in a guest, read no faster than it is wanted. Destroyed with the error when the copy fails. */
export class FileStream extends Readable {
  #session: GuestSession | undefined;
  /** What was pushed and is not read yet, as far as we can tell. */
  #untaken: (() => void)[] = [];

  private constructor() {
    super({ highWaterMark: 65_536 });
  }

  /** Resolves when the first of it is on its way. @throws OperationError when there is nothing to copy. */
  static async open(opener: SessionOpener, place: SessionPlace, path: string): Promise<FileStream> {
    const stream = new FileStream();
    let begin!: () => void;
    const begun = new Promise<void>((resolve) => (begin = resolve));
    const session = await opener.open(
      place,
      { kind: 'get', path },
      {
        started: begin,
        output: (_, bytes, took) => {
          stream.#untaken.push(took);
          stream.push(bytes);
        },
      },
    );
    stream.#session = session;
    const ended = session.ended.then(({ error }) => {
      if (error) {
        const failure = new OperationError(error.code, error.message);
        stream.destroy(failure);
        throw failure;
      }
      stream.push(null);
    });
    ended.catch(() => undefined);
    stream.on('error', () => undefined);
    await Promise.race([begun, ended]);
    return stream;
  }

  /** Called when what was pushed before is used up, or nearly so. */
  override _read(): void {
    for (const took of this.#untaken.splice(0)) took();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#session?.close();
    callback(error);
  }
}
