/** Gives back one place of a {@link Pacer}; calling it again does nothing. */
export type Permit = () => void;

/**
 * Lets a bounded number of things go on at once, first come first served. Starting everything at once makes the worst start
 * wait for all of them; in turn, each is fast and the whole takes no longer.
 */
export class Pacer {
  readonly #waiting = new Set<() => void>();
  #free: number;

  constructor(readonly places: number) {
    this.#free = places;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /** Does the work when its turn has come. Resolves or rejects as the work does. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    const release = await this.acquire();
    try {
      return await work();
    } finally {
      release();
    }
  }

  /** Waits for a place. Rejects with the signal's reason when it is aborted before. */
  acquire(signal?: AbortSignal): Promise<Permit> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason as Error);
      const grant = (): void => {
        signal?.removeEventListener('abort', giveUp);
        resolve(this.#permit());
      };
      const giveUp = (): void => {
        this.#waiting.delete(grant);
        reject(signal!.reason as Error);
      };
      if (this.#free > 0) {
        this.#free--;
        return grant();
      }
      this.#waiting.add(grant);
      signal?.addEventListener('abort', giveUp, { once: true });
    });
  }

  #permit(): Permit {
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      const next = this.#waiting.values().next();
      if (next.done) {
        this.#free++;
      } else {
        this.#waiting.delete(next.value);
        next.value();
      }
    };
  }
}
