import { Inject, Injectable, type OnModuleDestroy, type OnModuleInit } from '@nestjs/common';
import type { NatsConnection } from 'nats';
import type { Logger } from 'pino';
import { BusClient, LOGGER, NATS } from '#bus';
import { hostClassOf, hostContext, hostState, isPresent, type HostLife } from '#lifecycle';
import { hostClassChanged, OperationError, type PolicyHeld, type ReplyOf, type syncHostClass } from '#protocol';
import { HostClassDirectory } from '#tenancy';
import { HostHistories } from '../histories/host-histories';
import { Partitions } from '../partitions/partitions';
import { isSamePolicy, wantedPolicy } from './wanted-policy';

/**
 * Brings the policies of host classes to their hosts. A host asks, and is told to ask when something has changed; what it says it holds is
 * its acknowledgement, and goes on record in its history. Asking again heals whatever got lost or out of order on the way.
 */
@Injectable()
export class HostClassKeeper implements OnModuleInit, OnModuleDestroy {
  #classes!: HostClassDirectory;
  /** Class of each host, as last seen. */
  readonly #classOf = new Map<string, string>();

  constructor(
    private readonly hosts: HostHistories,
    private readonly partitions: Partitions,
    private readonly bus: BusClient,
    @Inject(NATS) private readonly nats: NatsConnection,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    hosts.listen({
      changed: (life) => {
        const { name } = hostClassOf(life);
        const before = this.#classOf.get(life.id);
        this.#classOf.set(life.id, name);
        if (before !== undefined && before !== name) this.#nudge(life);
      },
      asked: () => {},
    });
  }

  async onModuleInit(): Promise<void> {
    this.#classes = await HostClassDirectory.open(this.nats, (key, error) =>
      this.logger.error({ key, err: error }, 'an entry among the host classes is none; it counts as absent'),
    );
    this.#classes.onChange((name) => {
      for (const life of this.hosts.all()) if (hostClassOf(life).name === name) this.#nudge(life);
    });
  }

  onModuleDestroy(): void {
    this.#classes.close();
  }

  /** @throws OperationError `unavailable` */
  async has(name: string): Promise<boolean> {
    return (await this.#classes.find(name)) !== undefined;
  }

  /** Has a host of ours ask. Nothing is lost with a message that is: it asks by itself, later. */
  #nudge(life: HostLife): void {
    if (!this.partitions.owns(life.id) || !isPresent(hostState(life))) return;
    this.bus.call(hostClassChanged, {}, { values: { hostId: life.id } }).catch(() => undefined);
  }

  /**
   * Answers a host with what it is to hold. Where that is what it holds, its history says so from now on.
   *
   * @throws OperationError `notFound` when it has not registered.
   */
  async sync(hostId: string, held: PolicyHeld): Promise<ReplyOf<typeof syncHostClass>> {
    const life = this.hosts.get(hostId);
    if (!life) throw new OperationError('notFound', `host ${hostId} has not registered; it is to register first`);
    const wanted = wantedPolicy(life, (name) => this.#classes.get(name));
    const { policy } = hostContext(life);
    // A host that goes by its own settings, as ever, is no news.
    const isOnRecord = policy ? isSamePolicy(policy, held) : held.revision === null;
    if (isSamePolicy(wanted, held) && !isOnRecord) {
      const who = {
        commandId: `policy.${hostId}.${held.hostClass}.${held.revision ?? 'own'}.${life.revision}`,
        cause: { kind: 'host' as const, by: hostId },
      };
      // Refused while an older controller takes part, which could not read it: on record once it is gone.
      await this.hosts.record(hostId, who, [{ type: 'policyApplied', policy: wanted }]);
    }
    return { wanted };
  }
}
