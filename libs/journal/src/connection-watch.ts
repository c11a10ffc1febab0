import type { NatsConnection } from 'nats';

/** Tells whether the connection is up, and calls back when it came back. */
export class ConnectionWatch {
  static readonly #watches = new WeakMap<NatsConnection, ConnectionWatch>();
  readonly #reconnected = new Set<() => void>();
  #connected = true;

  private constructor(nc: NatsConnection) {
    void this.#watch(nc);
  }

  /** The watch of a connection; there is one per connection, however many ask. */
  static of(nc: NatsConnection): ConnectionWatch {
    let watch = ConnectionWatch.#watches.get(nc);
    if (!watch) ConnectionWatch.#watches.set(nc, (watch = new ConnectionWatch(nc)));
    return watch;
  }

  get connected(): boolean {
    return this.#connected;
  }

  /** Calls back after every reconnect, until the returned function is called. */
  onReconnect(callback: () => void): () => void {
    this.#reconnected.add(callback);
    return () => this.#reconnected.delete(callback);
  }

  /** Resolves at the next reconnect, or after `timeoutMs`. */
  reconnected(timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        off();
        clearTimeout(timer);
        resolve();
      };
      const off = this.onReconnect(done);
      const timer = setTimeout(done, timeoutMs);
    });
  }

  async #watch(nc: NatsConnection): Promise<void> {
    for await (const status of nc.status()) {
      if (status.type === 'disconnect') this.#connected = false;
      if (status.type === 'reconnect') {
        this.#connected = true;
        for (const callback of [...this.#reconnected]) callback();
      }
    }
  }
}
