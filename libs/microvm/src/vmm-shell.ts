import type { Barrier, Shell } from './microvm-driver';

/** The driver's side of a shell. */
export class VmmShell implements Shell {
  readonly ended: Promise<void>;
  #resolveEnded!: () => void;
  #state: 'waiting' | 'priming' | 'used' | 'ended' = 'waiting';
  #primed: string | undefined;

  constructor(
    readonly handle: number,
    readonly pid: number,
    readonly barriers: readonly Barrier[],
    private readonly end: (shell: VmmShell) => void,
  ) {
    this.ended = new Promise((resolve) => (this.#resolveEnded = resolve));
  }

  get primed(): string | undefined {
    return this.#primed;
  }

  discard(): void {
    if (this.#state === 'waiting' || this.#state === 'priming') this.end(this);
  }

  /** @internal True for the one who may prime it, and says how that went. */
  beginPriming(): boolean {
    if (this.#state !== 'waiting' || this.#primed !== undefined) return false;
    this.#state = 'priming';
    return true;
  }

  /** @internal */
  onPrimed(directory: string): void {
    this.#primed = directory;
    if (this.#state === 'priming') this.#state = 'waiting';
  }

  /** @internal True for the one who may launch into it. */
  take(): boolean {
    if (this.#state !== 'waiting') return false;
    this.#state = 'used';
    return true;
  }

  /** @internal */
  onEnded(): void {
    if (this.#state !== 'used') this.#state = 'ended';
    this.#resolveEnded();
  }
}
