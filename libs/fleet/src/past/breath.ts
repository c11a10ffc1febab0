/** How long work may hold the event loop at a time, ms. */
const AT_ONCE_MS = 5;

/** Lets the rest of the process have its turn now and then during long work. */
export class Breath {
  #since = performance.now();

  /** To be awaited between two steps of the work; costs nothing while the turn is short. */
  async take(): Promise<void> {
    if (performance.now() - this.#since < AT_ONCE_MS) return;
    await new Promise((resolve) => setImmediate(resolve));
    this.#since = performance.now();
  }
}
