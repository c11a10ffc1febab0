import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import type { NatsConnection } from 'nats';
import type { Logger } from 'pino';
import { BusClient, LOGGER, NATS } from '#bus';
import { openUsageJournal } from '#fleet';
import type { Journal } from '#journal';
import { microvmSamples, MicrovmSamples, usageOf, type UsageRecord } from '#protocol';
import { UsageBook } from '#whatif';
import { HostWatch } from '../hosts/host-watch';

/** Injects how long the intervals are of which usage is recorded, ms. */
export const USAGE_INTERVAL_MS = Symbol('volley.usage-interval');

/**
 * Records what microVMs use, and how far hosts may be promised by the policies of their classes, for what-ifs. Hosts do not reach JetStream themselves. Several placement services make the same record
 * under the same id, which is stored once.
 */
@Injectable()
export class UsageRecorder implements OnModuleInit {
  readonly #books = new Map<string, UsageBook>();
  #journal!: Journal<UsageRecord>;

  constructor(
    private readonly bus: BusClient,
    private readonly hosts: HostWatch,
    @Inject(NATS) private readonly nats: NatsConnection,
    @Inject(LOGGER) private readonly logger: Logger,
    @Inject(USAGE_INTERVAL_MS) private readonly intervalMs: number,
  ) {}

  async onModuleInit(): Promise<void> {
    this.#journal = await openUsageJournal(this.nats);
    this.hosts.onReport(({ hostId, overcommit }) =>
      this.#bookOf(hostId).promises(overcommit.cpuLimit, overcommit.memoryLimit),
    );
    this.bus.subscribe(microvmSamples('*'), (samples: MicrovmSamples) => this.#take(samples), {
      schema: MicrovmSamples,
    });
  }

  #bookOf(hostId: string): UsageBook {
    let book = this.#books.get(hostId);
    if (!book) this.#books.set(hostId, (book = new UsageBook(hostId, this.intervalMs)));
    return book;
  }

  #take({ hostId, at, samples }: MicrovmSamples): void {
    const record = this.#bookOf(hostId).take(samples, at);
    if (!record || (record.microvms.length === 0 && !record.whole && !record.limits)) return;
    // A record that is lost is missed by nobody but a what-if: nothing waits for it.
    this.#journal
      .append(usageOf(hostId), record, { commandId: `${hostId}.${record.to}`, expectedSequence: 'any' })
      .catch((error: unknown) => this.logger.warn({ err: error, hostId }, 'what microVMs used was not recorded'));
  }
}
