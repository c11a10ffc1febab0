import type { NatsConnection } from 'nats';

/** Between an answered ping and the next, ms. */
const PAUSE_MS = 200;

/**
 * How far what a server has sent over a connection was looked at. A ping is answered behind all that waits in line, so when its answer is read,
 * everything was that had reached the server for us when it was sent. Who says that nothing was heard of somebody for so long has to
 * mean this clock: a process that is held up, or has fallen behind, has not heard anybody yet.
 *
 * Times are of the steady clock `performance.now()`. It stands still while the connection is down.
 */
export class InboundWatermark {
  static readonly #watermarks = new WeakMap<NatsConnection, InboundWatermark>();
  #readUntilMs = performance.now();

  private constructor(nc: NatsConnection) {
    void this.#follow(nc);
  }

  /** That of a connection; there is one per connection, however many ask. */
  static of(nc: NatsConnection): InboundWatermark {
    let watermark = InboundWatermark.#watermarks.get(nc);
    if (!watermark) InboundWatermark.#watermarks.set(nc, (watermark = new InboundWatermark(nc)));
    return watermark;
  }

  /** Everything that had arrived by then was read. */
  get readUntilMs(): number {
    return this.#readUntilMs;
  }

  /** Age of the oldest message that may still wait to be read, ms; some 200 when there is none. */
  get lagMs(): number {
    return performance.now() - this.#readUntilMs;
  }

  async #follow(nc: NatsConnection): Promise<void> {
    while (!nc.isClosed()) {
      const sentAtMs = performance.now();
      try {
        await nc.flush();
        this.#readUntilMs = sentAtMs;
      } catch {
        // Disconnected: what was sent before is lost, and the next answer is of the next connection.
      }
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS).unref());
    }
  }
}
