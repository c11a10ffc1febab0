import type { Barrier, Shell } from './microvm-driver';

/** The driver's side of a shell. */
export class VmmShell implements Shell {
  readonly ended: Promise<void>;
  #resolveEnded!: () => void;
  #state: 'waiting' | 'used' | 'ended' = 'waiting';

  constructor(
    readonly handle: number,
    readonly pid: number,
    readonly barriers: readonly Barrier[],
    private readonly end: (shell: VmmShell) => void,
  ) {
    this.ended = new Promise((resolve) => (this.#resolveEnded = resolve));
  }

  discard(): void {
    if (this.#state === 'waiting') this.end(this);
  }

  /** @internal True for the one who may launch into it. */
  take(): boolean {
    if (this.#state !== 'waiting') return false;
    this.#state = 'used';
    return true;
  }

  /** @internal */
  onEnded(): void {
    if (this.#state === 'waiting') this.#state = 'ended';
    this.#resolveEnded();
  }
}
