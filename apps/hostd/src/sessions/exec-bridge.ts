import { GuestProgram, type ProgramEnd } from '#guest';
import { decodeSize, SESSION_FRAME, type SessionEnd, type SessionOpen } from '#protocol';
import type { Duplex } from 'node:stream';
import type { Bridge, Pipe } from './bridge';
import { OutputPump } from './output-pump';
import { failedEnd } from './session-end';

type ExecOpen = Extract<SessionOpen, { kind: 'exec' }>;

/** A command in the guest. Credit for its input is passed through: what the program took, the client may send anew. */
export class ExecBridge implements Bridge {
  readonly done: Promise<SessionEnd>;
  readonly #program: GuestProgram;
  readonly #output: OutputPump;

  /** @throws GuestRequestError */
  constructor(stream: Duplex, open: ExecOpen, pipe: Pipe) {
    const { command, env, user, workdir, tty, stdin } = open;
    this.#program = new GuestProgram(
      stream,
      {
        command,
        env: Object.entries(env).map(([name, value]) => `${name}=${value}`),
        stdin,
        ...(user === undefined ? {} : { user }),
        ...(workdir === undefined ? {} : { workdir }),
        ...(tty === undefined ? {} : { tty }),
      },
      {
        started: () => pipe.send(SESSION_FRAME.started),
        output: (from, bytes) =>
          this.#output.push(from === 'stdout' ? SESSION_FRAME.stdout : SESSION_FRAME.stderr, bytes),
        taken: (bytes) => pipe.took(bytes),
      },
    );
    this.#output = new OutputPump(pipe, this.#program);
    this.done = this.#end();
  }

  async #end(): Promise<SessionEnd> {
    let end: ProgramEnd;
    try {
      end = await this.#program.ended;
    } catch (error) {
      return failedEnd(error);
    }
    await this.#output.settled();
    return end;
  }

  onMessage(type: number, content: Uint8Array): void {
    switch (type) {
      case SESSION_FRAME.stdin:
        if (content.length === 0) this.#program.endInput();
        else this.#program.write(content);
        return;
      case SESSION_FRAME.resize: {
        const size = decodeSize(content);
        if (size) this.#program.resize(size.rows, size.columns);
        return;
      }
      case SESSION_FRAME.signal:
        if (content.length === 1) this.#program.signal(content[0]!);
        return;
      default:
        return; // of a later version
    }
  }

  stop(): void {
    this.#program.close();
  }
}
