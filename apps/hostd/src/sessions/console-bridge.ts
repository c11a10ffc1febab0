import { setTimeout as pause } from 'node:timers/promises';
import type { SerialRead } from '#microvm';
import { SESSION_FRAME, type SessionEnd, type SessionOpen } from '#protocol';
import type { Bridge, Pipe } from './bridge';
import { failedEnd } from './session-end';

type ConsoleOpen = Extract<SessionOpen, { kind: 'console' }>;

/** A serial console, also of a microVM that has ended. */
export interface SerialConsole {
  /** As of the driver's `serial`. */
  read(maxBytes: number, since?: number): Promise<SerialRead>;
  /** As of the driver's `type`. */
  type(bytes: Uint8Array): Promise<number>;
}

/** How often the ring is looked at: soon again while there is something to see, or somebody types. */
const BUSY_MS = 30;
const IDLE_MS = 250;
const READ_BYTES = 16_384;
/** What the VMM takes of typed bytes at a time. */
const TYPE_BYTES = 96;
const TYPE_RETRY_MS = 20;

/** The serial console: shows what the guest writes, types what the client sends. */
export class ConsoleBridge implements Bridge {
  readonly done: Promise<SessionEnd>;
  readonly #stopped = new AbortController();
  #typing: Promise<void> = Promise.resolve();
  #wake: (() => void) | undefined;

  constructor(
    private readonly console: SerialConsole,
    { historyBytes }: ConsoleOpen,
    private readonly pipe: Pipe,
    /** Resolves when the guest writes no more. */
    over: Promise<unknown>,
  ) {
    let isOver = false;
    void over.then(() => {
      isOver = true;
      this.#wake?.();
    });
    this.done = this.#show(historyBytes, () => isOver).catch(failedEnd);
  }

  async #show(historyBytes: number, isOver: () => boolean): Promise<SessionEnd> {
    const history = await this.console.read(Math.max(1, historyBytes));
    let { to } = history;
    if (historyBytes > 0 && history.text !== '') await this.#write(history.text);
    while (!this.#stopped.signal.aborted) {
      const last = isOver();
      const read = await this.console.read(READ_BYTES, to);
      if (read.to < to) return {}; // of a later start
      if (read.from > to) await this.#write(`\r\n[${read.from - to} bytes were not seen in time]\r\n`);
      to = read.to;
      if (read.text !== '') await this.#write(read.text);
      else if (last) return {};
      await this.#rest(read.text === '' ? IDLE_MS : BUSY_MS);
    }
    return {};
  }

  async #write(text: string): Promise<void> {
    await this.pipe.write(SESSION_FRAME.stdout, Buffer.from(text, 'utf8'));
  }

  /** Until there may be more to see. */
  async #rest(ms: number): Promise<void> {
    const woken = new Promise<void>((resolve) => (this.#wake = resolve));
    const { signal } = this.#stopped;
    await Promise.race([pause(ms, undefined, { signal, ref: false }).catch(() => undefined), woken]);
  }

  onMessage(type: number, content: Uint8Array): void {
    if (type !== SESSION_FRAME.stdin) return;
    // One after another; what waits is bounded by the credit that is given when it is typed.
    this.#typing = this.#typing.then(() => this.#type(content)).catch(() => undefined);
  }

  async #type(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length && !this.#stopped.signal.aborted;) {
      const taken = await this.console.type(bytes.subarray(at, at + TYPE_BYTES));
      at += taken;
      if (taken > 0) this.pipe.took(taken);
      else await pause(TYPE_RETRY_MS, undefined, { ref: false });
      this.#wake?.();
    }
  }

  stop(): void {
    this.#stopped.abort();
    this.#wake?.();
  }
}
