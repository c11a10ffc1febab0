import { Inject, Injectable, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import type { Logger } from 'pino';
import { BusClient, LOGGER } from '#bus';
import { wallClockMs } from '#journal';
import { hostState, microvmContext, type HostLife } from '#lifecycle';
import { partitionOf } from '#protocol';
import { HostHistories } from '../histories/host-histories';
import { MicrovmHistories } from '../histories/microvm-histories';
import { Partitions } from '../partitions/partitions';
import { tellHost, tellHosts } from './tell-hosts';
import { TemplateRecords } from './template-records';
import { heardFrom, settledBy } from './template-rules';

/** How often templates are looked at, should a change have been missed, ms. */
const LOOK_MS = 5_000;

/**
 * Puts on record what became of templates: the histories of their sources tell, and whoever owns those looks; and what a host took along
 * that never returns. Done again after a crash it writes the same.
 */
@Injectable()
export class TemplateKeeper implements OnApplicationBootstrap, OnModuleDestroy {
  readonly #timer: NodeJS.Timeout;
  /** Those on which microVMs are placed, and so those that keep pools. */
  readonly #readyHosts = new Set<string>();

  constructor(
    private readonly records: TemplateRecords,
    private readonly histories: MicrovmHistories,
    private readonly hosts: HostHistories,
    private readonly bus: BusClient,
    private readonly partitions: Partitions,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    histories.listen({
      changed: (life) => {
        const { snapshot } = microvmContext(life);
        if (snapshot && partitions.owns(life.id)) void this.#settle(snapshot.templateId);
      },
      asked: () => {},
    });
    partitions.onChange(({ gained }) => this.#look((microvmId) => gained.has(partitionOf(microvmId))));
    this.#timer = setInterval(() => {
      this.#look((microvmId) => partitions.owns(microvmId));
      void this.#forgetRetired();
    }, LOOK_MS);
    this.#timer.unref();
  }

  /** Once all histories are read: what was decided before is known to the hosts, or asked by them when they register. */
  onApplicationBootstrap(): void {
    for (const life of this.hosts.all()) if (hostState(life) === 'ready') this.#readyHosts.add(life.id);
    this.hosts.listen({ changed: (life) => this.#poolsFollow(life), asked: () => {} });
  }

  onModuleDestroy(): void {
    clearInterval(this.#timer);
  }

  #look(isOurs: (microvmId: string) => boolean): void {
    for (const { id, state, source } of this.records.list()) {
      if (state === 'creating' && isOurs(source.microvmId)) void this.#settle(id);
    }
  }

  /** A host that is cordoned, drained or ready again is to end or to fill its pools now, not when it asks the next time. */
  #poolsFollow(life: HostLife): void {
    const isReady = hostState(life) === 'ready';
    if (isReady === this.#readyHosts.has(life.id)) return;
    if (isReady) this.#readyHosts.add(life.id);
    else this.#readyHosts.delete(life.id);
    const hasPool = this.records.list().some(({ pool, hosts }) => pool && hosts.includes(life.id));
    if (hasPool && this.partitions.owns(life.id)) tellHost(this.bus, life.id);
  }

  /** A host that is retired has no word of its own any more: what it held is nowhere. */
  async #forgetRetired(): Promise<void> {
    for (const { id, hosts } of this.records.list()) {
      for (const hostId of hosts) {
        const life = this.hosts.get(hostId);
        if (!life || hostState(life) !== 'retired' || !this.partitions.owns(hostId)) continue;
        const gone = { hostId, holds: false };
        await this.records
          .update(id, (now) => now && heardFrom(now, { ...gone, now: wallClockMs() }))
          .catch((error) => {
            this.logger.warn(
              { err: error as Error, templateId: id, hostId },
              'a retired host still counts among those that hold it',
            );
          });
      }
    }
  }

  async #settle(id: string): Promise<void> {
    try {
      const record = await this.records.find(id);
      if (record?.state !== 'creating') return;
      const life = await this.histories.find(record.source.microvmId);
      if (!settledBy(record, life, wallClockMs())) return;
      const settled = await this.records.update(id, (now) =>
        now ? (settledBy(now, life, wallClockMs()) ?? now) : now,
      );
      // Its host is to publish it, or to give it up.
      tellHosts(this.bus, settled);
    } catch (error) {
      this.logger.warn({ err: error, templateId: id }, 'what became of a template is not on record yet');
    }
  }
}
