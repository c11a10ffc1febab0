import { Inject, Injectable } from '@nestjs/common';
import { BusClient, NATS, SHUTDOWN } from '#bus';
import { ConnectionWatch } from '#journal';
import { listHosts } from '#protocol';
import type { NatsConnection } from 'nats';

export interface ReadinessReport {
  ready: boolean;
  checks: { nats: string; controller: string; process: string };
}

const PROBE_DEADLINE_MS = 1_000;
/** Anybody may ask; the controller is asked this often at most, in ms. */
const PROBE_EVERY_MS = 500;

/** Whether this gateway can serve. That it listens says that the fleet was folded. */
@Injectable()
export class Readiness {
  readonly #watch: ConnectionWatch;
  #probe: Promise<string> | undefined;
  #probedAt = -Infinity;

  constructor(
    @Inject(BusClient) private readonly bus: BusClient,
    @Inject(NATS) nats: NatsConnection,
    @Inject(SHUTDOWN) private readonly shutdown: AbortSignal,
  ) {
    this.#watch = ConnectionWatch.of(nats);
  }

  async check(): Promise<ReadinessReport> {
    const process = this.shutdown.aborted ? 'shutting down' : 'ok';
    const connected = this.#watch.connected;
    const nats = connected ? 'ok' : 'not connected';
    const controller = connected ? await this.#controller() : 'not asked';
    return {
      ready: [nats, controller, process].every((check) => check === 'ok'),
      checks: { nats, controller, process },
    };
  }

  #controller(): Promise<string> {
    const now = performance.now();
    if (!this.#probe || now - this.#probedAt > PROBE_EVERY_MS) {
      this.#probedAt = now;
      this.#probe = this.bus.call(listHosts, {}, { deadlineMs: PROBE_DEADLINE_MS }).then(
        () => 'ok',
        (error: unknown) => (error instanceof Error ? error.message : String(error)),
      );
    }
    return this.#probe;
  }
}
