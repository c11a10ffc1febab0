import { Inject, Injectable, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import type { NatsConnection } from 'nats';
import type { Logger } from 'pino';
import { LOGGER, NATS } from '#bus';
import { ConnectionWatch, DeadlineQueue, InboundWatermark, steadyClock, steadyDue } from '#journal';
import { HOST_LIMITS, hostState, isPresent, microvmContext, type HostLife } from '#lifecycle';
import { partitionOf } from '#protocol';
import { HostHistories } from '../histories/host-histories';
import { MicrovmHistories } from '../histories/microvm-histories';
import { Partitions } from '../partitions/partitions';

/** Until it is looked again whether all that had arrived when a lease ended was read, ms. */
const READ_AGAIN_MS = 100;

/**
 * Who is there. A lease is renewed by heartbeats, which every replica hears and none records; its end is recorded by the owner of the
 * host. While this process itself is cut off from NATS it owns nothing, and when it is back (or has just started) every host gets a whole lease to be heard again.
 * One that is behind with reading has not heard anybody yet: a lease ends when all was read that had arrived by then.
 */
@Injectable()
export class HostLeases implements OnApplicationBootstrap, OnModuleDestroy {
  readonly #leases = new DeadlineQueue<string>({
    due: (hostId) => void this.#leaseEnded(hostId),
    clock: steadyClock,
  });
  readonly #deadlines = new DeadlineQueue<string>({
    due: (key) => void this.#deadlinePassed(key),
    clock: steadyClock,
  });
  /** Hosts whose lease is over unless a heartbeat waits to be read; when it ended, by `performance.now()`. */
  readonly #ended = new Map<string, number>();
  readonly #watch: ConnectionWatch;
  readonly #inbound: InboundWatermark;
  #offReconnect = (): void => {};

  constructor(
    private readonly hosts: HostHistories,
    private readonly microvms: MicrovmHistories,
    private readonly partitions: Partitions,
    @Inject(NATS) nats: NatsConnection,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    this.#watch = ConnectionWatch.of(nats);
    this.#inbound = InboundWatermark.of(nats);
    hosts.listen({
      changed: (life) => this.#arm(life),
      asked: (life, effects) => {
        for (const effect of effects) {
          if (effect.type === 'tellHostLost') this.#tellMicrovms(life.id, 'hostLost');
          else this.#tellMicrovms(life.id, 'hostGone');
        }
      },
    });
    partitions.onChange(({ gained }) => {
      for (const life of hosts.all()) if (gained.has(partitionOf(life.id))) this.#takeOver(life);
    });
  }

  onApplicationBootstrap(): void {
    this.#renewAll();
    this.#offReconnect = this.#watch.onReconnect(() => this.#renewAll());
  }

  onModuleDestroy(): void {
    this.#offReconnect();
    this.#leases.stop();
    this.#deadlines.stop();
  }

  /** A host was heard. */
  heard(hostId: string): void {
    const life = this.hosts.get(hostId);
    this.#ended.delete(hostId);
    if (life && isLeased(life)) this.#leases.set(hostId, steadyClock.now() + HOST_LIMITS.lease);
  }

  #renewAll(): void {
    for (const life of this.hosts.all()) this.heard(life.id);
  }

  #takeOver(life: HostLife): void {
    this.#arm(life);
    // A whole lease, for whoever becomes an owner may have been frozen, and what it was told meanwhile was turned away.
    this.heard(life.id);
    // Whoever owned it before may have ended between the host's record and those of its microVMs.
    if (hostState(life) === 'unreachable') this.#tellMicrovms(life.id, 'hostLost');
    if (['lost', 'retired'].includes(hostState(life))) this.#tellMicrovms(life.id, 'hostGone');
  }

  #arm(life: HostLife): void {
    for (const timer of life.timers) this.#deadlines.set(`${life.id} ${timer.name}`, steadyDue(timer));
    for (const name of ['joinDeadline', 'lostAfter']) {
      if (!life.timers.has(name)) this.#deadlines.clear(`${life.id} ${name}`);
    }
    if (!isLeased(life)) this.#leases.clear(life.id);
    else if (this.#leases.get(life.id) === undefined) this.heard(life.id);
  }

  async #leaseEnded(hostId: string): Promise<void> {
    if (!this.#watch.connected) return this.heard(hostId);
    const endedAtMs = this.#ended.get(hostId) ?? performance.now();
    this.#ended.delete(hostId);
    if (!this.partitions.owns(hostId)) return;
    if (this.#inbound.readUntilMs < endedAtMs) {
      this.#ended.set(hostId, endedAtMs);
      this.#leases.set(hostId, steadyClock.now() + READ_AGAIN_MS);
      return;
    }
    this.logger.warn({ hostId, leaseMs: HOST_LIMITS.lease }, 'a host was not heard for the length of its lease');
    await this.#record(hostId, `lease.${Date.now()}`, 'lease', { type: 'leaseExpired' }, () => this.heard(hostId));
  }

  async #deadlinePassed(key: string): Promise<void> {
    const [hostId, timer] = key.split(' ') as [string, string];
    const atMs = this.hosts.get(hostId)?.timers.get(timer)?.dueAt;
    if (atMs === undefined || !this.partitions.owns(hostId)) return;
    const again = (): void => this.#deadlines.set(key, steadyClock.now() + 1_000);
    await this.#record(hostId, `timer.${timer}.${Math.round(atMs)}`, timer, { type: 'deadlinePassed', timer }, again);
  }

  async #record(
    hostId: string,
    commandId: string,
    by: string,
    event: { type: 'leaseExpired' } | { type: 'deadlinePassed'; timer: string },
    again: () => void,
  ): Promise<void> {
    try {
      await this.hosts.record(hostId, { commandId, cause: { kind: 'timer', by } }, [event]);
    } catch (error) {
      this.logger.warn({ err: error, hostId, event: event.type }, 'could not be recorded yet');
      again();
    }
  }

  #tellMicrovms(hostId: string, type: 'hostLost' | 'hostGone'): void {
    const cause = { kind: 'controller', by: 'host-leases' } as const;
    for (const life of this.microvms.index.values()) {
      if (microvmContext(life).hostId !== hostId) continue;
      const event =
        type === 'hostLost'
          ? ({ type, hostId } as const)
          : ({ type, hostId, reason: `host ${hostId} is gone` } as const);
      // Not accepted where it means nothing (stopped, failed, already told).
      this.microvms
        .record(life.id, { commandId: `${type}.${hostId}.${life.revision}`, cause }, [event])
        .catch((error: unknown) => {
          this.logger.warn({ err: error, microvmId: life.id }, `${type} could not be recorded`);
        });
    }
  }
}

/** Whether the histories count on hearing it. */
function isLeased(life: HostLife): boolean {
  return isPresent(hostState(life));
}
