import { Inject, Injectable, type OnModuleDestroy, type OnModuleInit } from '@nestjs/common';
import type { NatsConnection } from 'nats';
import type { Logger } from 'pino';
import { BusClient, LOGGER, NATS } from '#bus';
import { openHostJournal } from '#fleet';
import { wallClockMs, type Follower } from '#journal';
import { foldHostRecord, type HostLife } from '#lifecycle';
import { densityReport, DensityReport } from '#protocol';
import { HostBook } from './host-book';

/** Keeps the book of hosts: follows their histories and hears their reports. */
@Injectable()
export class HostWatch implements OnModuleInit, OnModuleDestroy {
  readonly #lives = new Map<string, HostLife>();
  readonly #listeners: ((hostId: string) => void)[] = [];
  readonly #reportListeners: ((report: DensityReport) => void)[] = [];
  #follower: Follower | undefined;
  readonly book = new HostBook((hostId) => this.#listeners.forEach((listener) => listener(hostId)));

  constructor(
    @Inject(NATS) private readonly nats: NatsConnection,
    private readonly bus: BusClient,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  async onModuleInit(): Promise<void> {
    this.bus.subscribe(
      densityReport('*'),
      (report: DensityReport) => {
        this.book.reported(report, Math.round(wallClockMs()));
        for (const listener of this.#reportListeners) listener(report);
      },
      { schema: DensityReport },
    );
    const skip = (subject: string, sequence: number, error: unknown): void =>
      this.logger.error({ subject, sequence, err: error }, 'a record of a host is skipped');
    const journal = await openHostJournal(this.nats, ({ subject, sequence, error }) => skip(subject, sequence, error));
    this.#follower = journal.follow({
      onFailure: (error) => {
        throw error; // uncaught on purpose: a restart folds anew
      },
      onRecord: ({ record, sequence, subject }) => {
        try {
          const life = foldHostRecord(this.#lives.get(record.hostId) ?? null, record, sequence);
          this.#lives.set(life.id, life);
          this.book.heardOf(life);
        } catch (error) {
          skip(subject, sequence, error);
        }
      },
    });
    await this.#follower.caughtUp;
  }

  onModuleDestroy(): void {
    this.#follower?.close();
  }

  /** Calls the listener with each report that a host sends. */
  onReport(listener: (report: DensityReport) => void): void {
    this.#reportListeners.push(listener);
  }

  /** Calls the listener with each host of which something new is known. */
  onNews(listener: (hostId: string) => void): void {
    this.#listeners.push(listener);
  }
}
