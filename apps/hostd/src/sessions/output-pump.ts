import type { Pipe } from './bridge';

/** Sends a program's output in order as credit allows, and stops the program while it does not. */
export class OutputPump {
  readonly #queue: { type: number; bytes: Uint8Array }[] = [];
  #running: Promise<void> | undefined;

  constructor(
    private readonly pipe: Pipe,
    private readonly source: { pause(): void; resume(): void },
  ) {}

  push(type: number, bytes: Uint8Array): void {
    this.#queue.push({ type, bytes });
    this.#running ??= this.#run();
  }

  /** Resolves when all that was pushed is sent, or the session is over. */
  async settled(): Promise<void> {
    await this.#running;
  }

  async #run(): Promise<void> {
    this.source.pause();
    try {
      for (let next; (next = this.#queue.shift());) await this.pipe.write(next.type, next.bytes);
      this.source.resume();
    } catch {
      // The session is over, and so is the program soon.
    } finally {
      this.#running = undefined;
    }
  }
}
