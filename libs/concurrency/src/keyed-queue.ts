/** Does the jobs of one key strictly one after another, those of different keys side by side. */
export class KeyedQueue {
  readonly #tails = new Map<string, Promise<void>>();

  /** Runs `job` after all earlier jobs of this key, whether they succeeded or not. Resolves or rejects as the job does. */
  run<T>(key: string, job: () => Promise<T> | T): Promise<T> {
    const before = this.#tails.get(key);
    const result = before ? before.then(job) : (async () => job())();
    const tail = result.then(nothing, nothing);
    this.#tails.set(key, tail);
    void tail.then(() => {
      if (this.#tails.get(key) === tail) this.#tails.delete(key);
    });
    return result;
  }

  /** Resolves when every job known now has ended. */
  async settled(): Promise<void> {
    await Promise.all(this.#tails.values());
  }
}

const nothing = (): void => undefined;
