import { Inject, Injectable, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import { BusClient } from '#bus';
import { syncHostClass } from '#protocol';
import { HostAgent } from '../host-agent';

/** How often the policy is compared with that of the class, should a change have been missed, ms. */
const COMPARE_MS = 30_000;
const RETRY_MS = 2_000;

/** Asks the controllers what this host is to go by, and acknowledges it by asking again. */
@Injectable()
export class HostClassLink implements OnApplicationBootstrap, OnApplicationShutdown {
  #timer: NodeJS.Timeout | undefined;
  #comparing = false;
  #again = false;
  #stopped = false;

  constructor(
    @Inject(HostAgent) private readonly agent: HostAgent,
    @Inject(BusClient) private readonly bus: BusClient,
  ) {}

  onApplicationBootstrap(): void {
    this.compareNow();
  }

  onApplicationShutdown(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  /** For when it has registered, since only then is there an answer, and for when something has changed. */
  compareNow(): void {
    if (this.#comparing) this.#again = true;
    else this.#in(0);
  }

  #in(ms: number): void {
    clearTimeout(this.#timer);
    if (this.#stopped) return;
    this.#timer = setTimeout(() => void this.#compare(), ms);
    this.#timer.unref();
  }

  async #compare(): Promise<void> {
    const { hostId, policy, log } = this.agent;
    this.#comparing = true;
    this.#again = false;
    let next = COMPARE_MS;
    try {
      const { wanted } = await this.bus.call(syncHostClass, { held: policy.held }, { values: { hostId } });
      if (policy.take(wanted)) this.#again = true;
    } catch (error) {
      log.debug({ err: error as Error }, 'the policy is not compared yet');
      next = RETRY_MS;
    } finally {
      this.#comparing = false;
      this.#in(this.#again ? 0 : next);
    }
  }
}
