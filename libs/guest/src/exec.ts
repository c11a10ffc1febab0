import type { Duplex } from 'node:stream';
import { GuestConnectionError, GuestProtocolError, GuestRequestError, type GuestRefusedError } from './errors';
import { encodeFrame, FrameDecoder, GUEST_FRAME, GUEST_FRAME_MAX, GUEST_STDIN_WINDOW, type GuestFrame } from './frame';
import { takeResult } from './guest-exchange';

export interface ExecRequest {
  command: readonly string[];
  /** `NAME=value`, added to the image's. */
  env?: readonly string[];
  /** As in an OCI image; absent: the image's. */
  user?: string;
  workdir?: string;
  /** A pseudo terminal of this size; there is no stderr then. */
  tty?: { rows: number; columns: number };
  /** Whether there will be standard input; otherwise it is empty. */
  stdin?: boolean;
}

/** How a program ended: one of the two. */
export type ProgramEnd = { code: number } | { signal: number };

export interface ProgramEvents {
  started?(pid: number): void;
  output(stream: 'stdout' | 'stderr', bytes: Buffer): void;
  /** The program took so many bytes of what was written: so many more may be. */
  taken?(bytes: number): void;
}

const TTY = 1;
const STDIN = 2;

/** @throws GuestRequestError when it does not fit a frame, or holds a NUL byte. */
export function encodeExec({ command, env = [], user = '', workdir = '', tty, stdin = false }: ExecRequest): Buffer {
  const texts = [...command, ...env, user, workdir];
  if (texts.some((text) => text.includes('\0'))) throw new GuestRequestError('a command must not hold a NUL byte');
  const header = Buffer.alloc(16);
  header.writeUInt32LE((tty ? TTY : 0) | (stdin ? STDIN : 0), 0);
  header.writeUInt16LE(tty?.rows ?? 0, 4);
  header.writeUInt16LE(tty?.columns ?? 0, 6);
  header.writeUInt32LE(command.length, 8);
  header.writeUInt32LE(env.length, 12);
  return Buffer.concat([header, ...texts.map((text) => Buffer.from(`${text}\0`, 'utf8'))]);
}

/**
 * A program that runs in a guest for as long as its connection lasts. Output comes as events; {@link pause} stops it, and the
 * program with it. Standard input is counted: no more than {@link GUEST_STDIN_WINDOW} bytes ahead of what the program took.
 */
export class GuestProgram {
  /** Rejects with GuestRefusedError when it could not be started, GuestConnectionError when the connection broke, GuestProtocolError. */
  readonly ended: Promise<ProgramEnd>;
  readonly #decoder = new FrameDecoder();
  #resolve!: (end: ProgramEnd) => void;
  #reject!: (error: Error) => void;
  #over = false;
  #window = GUEST_STDIN_WINDOW;

  /** @throws GuestRequestError */
  constructor(
    private readonly stream: Duplex,
    request: ExecRequest,
    private readonly events: ProgramEvents,
  ) {
    const body = encodeFrame(GUEST_FRAME.exec, encodeExec(request));
    this.ended = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.ended.catch(() => undefined); // whoever cares awaits it
    stream.on('data', (chunk: Buffer) => this.#receive(chunk));
    stream.on('error', (error) =>
      this.#fail(new GuestConnectionError(`the connection to the guest broke: ${error.message}`)),
    );
    stream.on('close', () =>
      this.#fail(new GuestConnectionError('the guest closed the connection before the program ended')),
    );
    stream.on('end', () => stream.destroy());
    stream.write(body);
  }

  /** How many bytes of standard input may be written now. */
  get window(): number {
    return this.#window;
  }

  /** @throws GuestRequestError when more is written than {@link window} says. */
  write(bytes: Uint8Array): void {
    if (bytes.length > this.#window) throw new GuestRequestError('more standard input than the guest takes');
    this.#window -= bytes.length;
    for (let at = 0; at < bytes.length; at += GUEST_FRAME_MAX) {
      this.#send(GUEST_FRAME.stdin, bytes.subarray(at, at + GUEST_FRAME_MAX));
    }
  }

  endInput(): void {
    this.#send(GUEST_FRAME.stdin);
  }

  resize(rows: number, columns: number): void {
    const body = Buffer.alloc(4);
    body.writeUInt16LE(rows, 0);
    body.writeUInt16LE(columns, 2);
    this.#send(GUEST_FRAME.resize, body);
  }

  /** To the program's process group. */
  signal(number: number): void {
    const body = Buffer.alloc(4);
    body.writeUInt32LE(number);
    this.#send(GUEST_FRAME.signal, body);
  }

  pause(): void {
    this.stream.pause();
  }

  resume(): void {
    this.stream.resume();
  }

  /** Closes the connection, which ends the program. */
  close(): void {
    this.#fail(new GuestConnectionError('closed'));
  }

  #send(type: number, body?: Uint8Array): void {
    if (!this.#over && this.stream.writable) this.stream.write(encodeFrame(type, body));
  }

  #receive(chunk: Buffer): void {
    try {
      for (const frame of this.#decoder.push(chunk)) if (!this.#over) this.#take(frame);
    } catch (error) {
      this.#fail(error as GuestProtocolError | GuestRefusedError);
    }
  }

  #take(frame: GuestFrame): void {
    const { type, body } = frame;
    switch (type) {
      case GUEST_FRAME.started:
        return this.events.started?.(numberIn(body, 0));
      case GUEST_FRAME.stdout:
      case GUEST_FRAME.stderr:
        return this.events.output(type === GUEST_FRAME.stdout ? 'stdout' : 'stderr', body);
      case GUEST_FRAME.credit: {
        const bytes = numberIn(body, 0);
        if (bytes > GUEST_STDIN_WINDOW - this.#window)
          throw new GuestProtocolError('the guest took more than it was sent');
        this.#window += bytes;
        return this.events.taken?.(bytes);
      }
      case GUEST_FRAME.exited: {
        const [code, signal] = [numberIn(body, 0), numberIn(body, 4)];
        this.#over = true;
        this.#resolve(signal === 0 ? { code } : { signal });
        this.stream.destroy();
        return;
      }
      default:
        takeResult(frame);
        throw new GuestProtocolError('the guest says that it is done and not how');
    }
  }

  #fail(error: Error): void {
    if (this.#over) return;
    this.#over = true;
    this.#reject(error);
    this.stream.destroy();
  }
}

function numberIn(body: Buffer, at: number): number {
  if (body.length < at + 4) throw new GuestProtocolError('the guest sent a frame that is too short');
  return body.readUInt32LE(at);
}
