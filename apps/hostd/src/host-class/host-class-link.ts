import { Inject, Injectable, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import { BusClient } from '#bus';
import { syncHostClass } from '#protocol';
import { RepeatedComparison } from '../controller-link/repeated-comparison';
import { HostAgent } from '../host-agent';

/** How often the policy is compared with that of the class, should a change have been missed, ms. */
const COMPARE_MS = 30_000;
const RETRY_MS = 2_000;

/** Asks the controllers what this host is to go by, and acknowledges it by asking again. */
@Injectable()
export class HostClassLink implements OnApplicationBootstrap, OnApplicationShutdown {
  readonly #comparison = new RepeatedComparison({
    compare: () => this.#compare(),
    failed: (error) => this.agent.log.debug({ err: error }, 'the policy is not compared yet'),
    everyMs: COMPARE_MS,
    retryMs: RETRY_MS,
  });

  constructor(
    @Inject(HostAgent) private readonly agent: HostAgent,
    @Inject(BusClient) private readonly bus: BusClient,
  ) {}

  onApplicationBootstrap(): void {
    this.compareNow();
  }

  onApplicationShutdown(): void {
    this.#comparison.stop();
  }

  /** For when it has registered, since only then is there an answer, and for when something has changed. */
  compareNow(): void {
    this.#comparison.soon();
  }

  async #compare(): Promise<void> {
    const { hostId, policy } = this.agent;
    const { wanted } = await this.bus.call(syncHostClass, { held: policy.held }, { values: { hostId } });
    if (policy.take(wanted)) this.#comparison.soon();
  }
}
