import {
  Inject,
  Injectable,
  type OnApplicationBootstrap,
  type OnModuleDestroy,
  type OnModuleInit,
} from '@nestjs/common';
import type { NatsConnection } from 'nats';
import type { Logger } from 'pino';
import { LOGGER, NATS, RequestGate } from '#bus';
import { MICROVM_MACHINE_VERSION } from '#lifecycle';
import { partitionOwners, ReplicaLeases } from '#partitions';
import { CONTROLLER_BUCKET, partitionOf, PARTITIONS } from '#protocol';

/** Injects the name of this controller among its replicas. */
export const REPLICA_ID = Symbol('volley.replica-id');

/** What became of partitions of ours. */
export interface PartitionChange {
  readonly gained: ReadonlySet<number>;
  readonly lost: ReadonlySet<number>;
}

/**
 * Which part of the fleet is this replica's to look after: its effects, its timers, the leases of its hosts. Any replica may decide
 * on any history, and every one holds all of them in memory, so a partition changes hands without anything to load.
 *
 * Owning is never what makes an append safe (the expected sequence does); it is what keeps two replicas from doing the same work.
 */
@Injectable()
export class Partitions implements OnModuleInit, OnApplicationBootstrap, OnModuleDestroy {
  /** Undefined until its bucket is open: histories are folded from the beginning meanwhile, and nothing is ours. */
  #leases: ReplicaLeases | undefined;
  #owners: readonly (string | undefined)[] = [];
  #owned: ReadonlySet<number> = new Set();
  #machine = MICROVM_MACHINE_VERSION;
  readonly #listeners: ((change: PartitionChange) => void)[] = [];

  constructor(
    @Inject(REPLICA_ID) readonly id: string,
    @Inject(NATS) private readonly nats: NatsConnection,
    @Inject(LOGGER) private readonly logger: Logger,
    private readonly gate: RequestGate,
  ) {}

  async onModuleInit(): Promise<void> {
    const leases = await ReplicaLeases.open(this.nats, {
      bucket: CONTROLLER_BUCKET.name,
      id: this.id,
      machine: MICROVM_MACHINE_VERSION,
      logger: this.logger,
    });
    this.#leases = leases;
    leases.onChange(() => this.#share(leases));
    // What waited for a frozen replica would be done long after whoever asked has given it up.
    this.gate.closeWhile(() => leases.isThawing);
  }

  /** Everything is folded by now. */
  async onApplicationBootstrap(): Promise<void> {
    await this.#leases?.join();
  }

  async onModuleDestroy(): Promise<void> {
    await this.#leases?.leave();
  }

  /** Oldest machine among the replicas, as far as was last known: what is newer must not be written yet, for one of them could not read it. */
  get machine(): number {
    return this.#machine;
  }

  /** How many are ours. */
  get owned(): number {
    return this.#leases?.holds ? this.#owned.size : 0;
  }

  /** Whether the subject of this id (a microVM, a host, a group, a tenant) is ours. */
  owns(id: string): boolean {
    return this.#leases?.holds === true && this.#owned.has(partitionOf(id));
  }

  /** Name of the replica that owns it, as far as we know; undefined while we ourselves hold no lease. */
  ownerOf(id: string): string | undefined {
    return this.#leases?.holds ? this.#owners[partitionOf(id)] : undefined;
  }

  /** Called in the order of registration, after `owns` has changed. */
  onChange(listener: (change: PartitionChange) => void): void {
    this.#listeners.push(listener);
  }

  #share(leases: ReplicaLeases): void {
    const members = leases.members.map(({ id }) => id);
    if (members.length > 0) {
      this.#machine = Math.min(MICROVM_MACHINE_VERSION, ...leases.members.map(({ machine }) => machine));
    }
    this.#owners = partitionOwners(members, PARTITIONS);
    const before = this.#owned;
    this.#owned = new Set(this.#owners.flatMap((owner, partition) => (owner === this.id ? [partition] : [])));
    const gained = new Set([...this.#owned].filter((partition) => !before.has(partition)));
    const lost = new Set([...before].filter((partition) => !this.#owned.has(partition)));
    if (gained.size === 0 && lost.size === 0) return;
    this.logger.info(
      { members, owned: this.#owned.size, gained: gained.size, lost: lost.size },
      'partitions changed hands',
    );
    for (const listener of this.#listeners) listener({ gained, lost });
  }
}
