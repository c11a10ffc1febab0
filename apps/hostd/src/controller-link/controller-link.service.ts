import { Inject, Injectable, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import { BusClient } from '#bus';
import { ConnectionWatch } from '#journal';
import { HostAgent } from '../host-agent';
import { HostClassLink } from '../host-class/host-class-link';
import { FactSender } from './fact-sender';
import { Membership } from './membership';
import { StaleCommandTeller } from './stale-command-teller';

/** Joins the agent to the controllers: registers it, keeps its lease, tells its facts. */
@Injectable()
export class ControllerLink implements OnApplicationBootstrap, OnApplicationShutdown {
  readonly #sender: FactSender;
  readonly #membership: Membership;
  readonly #offReconnect: () => void;

  constructor(
    @Inject(HostAgent) private readonly agent: HostAgent,
    @Inject(BusClient) bus: BusClient,
    @Inject(HostClassLink) classes: HostClassLink,
  ) {
    const { chronicle, manager, lease, description, clock, log } = agent;
    this.#sender = new FactSender({
      bus,
      hostId: agent.hostId,
      acknowledge: (acked) => void chronicle.record({ acked }),
      log,
    });
    const stale = new StaleCommandTeller({ bus, hostId: agent.hostId, nowMs: () => performance.now(), log });
    manager.onStale((command, seenEpoch) => stale.tell(command, seenEpoch));
    this.#membership = new Membership({
      bus,
      lease,
      describe: () => description,
      inventory: () => manager.inventory(),
      now: () => clock.now(),
      log,
      onReached: () => {
        this.#sender.hurry();
        classes.compareNow();
      },
    });
    this.#offReconnect = ConnectionWatch.of(bus.connection).onReconnect(() => {
      this.#sender.hurry();
      this.#membership.reconnected();
    });
  }

  onApplicationBootstrap(): void {
    const { chronicle, log } = this.agent;
    chronicle.onFacts((facts) => this.#sender.send(facts));
    this.#sender.send(chronicle.state.outbox.values());
    this.#sender.send(chronicle.state.guardActs.values());
    this.#membership.start();
    // Serving first, cleaning up later.
    setTimeout(() => {
      this.agent.reclaim().catch((error: unknown) => log.error({ err: error }, 'the search for orphans failed'));
    }, 1_000).unref();
  }

  async onApplicationShutdown(): Promise<void> {
    this.#offReconnect();
    this.#membership.stop();
    this.#sender.stop();
    await this.agent.stop();
  }
}
