import { Inject, Injectable, Optional, type OnModuleDestroy, type OnModuleInit } from '@nestjs/common';
import type { NatsConnection } from 'nats';
import type { Logger } from 'pino';
import { LOGGER, NATS } from '#bus';
import { openHostJournal } from '#fleet';
import { wallClockMs } from '#journal';
import {
  decideHostEvents,
  foldHostRecord,
  nameLife,
  type HostDecision,
  type HostEffect,
  type HostLife,
} from '#lifecycle';
import { hostHistory, type Cause, type HostEvent, type HostRecord } from '#protocol';
import { Partitions } from '../partitions/partitions';
import { HistoryStore, type Outcome } from './history-store';

interface Listener {
  changed(life: HostLife): void;
  asked(life: HostLife, effects: readonly HostEffect[]): void;
}

/** The histories of all hosts and the one way to add to them. */
@Injectable()
export class HostHistories implements OnModuleInit, OnModuleDestroy {
  readonly #lives = new Map<string, HostLife>();
  #store!: HistoryStore<HostLife, HostRecord>;
  readonly #listeners: Listener[] = [];

  constructor(
    @Inject(NATS) private readonly nats: NatsConnection,
    @Inject(LOGGER) private readonly logger: Logger,
    @Optional() private readonly partitions?: Partitions,
  ) {}

  async onModuleInit(): Promise<void> {
    this.#store = new HistoryStore({
      journal: await openHostJournal(this.nats, ({ subject, sequence, error }) =>
        this.logger.error({ subject, sequence, err: error }, 'a message on a history is no record; skipped'),
      ),
      subjectOf: hostHistory,
      idOf: (record) => record.hostId,
      fold: foldHostRecord,
      named: nameLife,
      lives: { get: (id) => this.#lives.get(id), set: (life) => void this.#lives.set(life.id, life) },
      onChange: (life) => this.#listeners.forEach((listener) => listener.changed(life)),
      onDamaged: (hostId, error) => this.logger.error({ hostId, err: error }, 'a history is damaged; it is left alone'),
    });
    await this.#store.open((error) => {
      throw error; // uncaught on purpose, as for microVMs
    });
  }

  onModuleDestroy(): void {
    this.#store.close();
  }

  get position(): number {
    return this.#store.position;
  }

  listen(listener: Listener): void {
    this.#listeners.push(listener);
  }

  get(hostId: string): HostLife | undefined {
    return this.#lives.get(hostId);
  }

  all(): HostLife[] {
    return [...this.#lives.values()];
  }

  /** Decides events of a host and appends; asks for the effects once the record is durable. */
  async record(
    hostId: string,
    who: { commandId: string; cause: Cause },
    events: HostEvent[],
  ): Promise<Outcome<HostLife, HostDecision>> {
    const outcome = await this.#store.decide(hostId, (life) =>
      decideHostEvents(life, events, { hostId, ...who, at: wallClockMs(), machine: this.partitions?.machine }),
    );
    const { decision, life, appended } = outcome;
    if (life && decision.kind === 'record' && appended && decision.advance.effects.length > 0) {
      this.#listeners.forEach((listener) => listener.asked(life, decision.advance.effects));
    }
    return outcome;
  }
}
