import { Inject, Injectable, Optional, type OnModuleDestroy, type OnModuleInit } from '@nestjs/common';
import type { NatsConnection } from 'nats';
import type { Logger } from 'pino';
import { LOGGER, NATS } from '#bus';
import { FleetIndex, openMicrovmJournal } from '#fleet';
import { wallClockMs, type Journal } from '#journal';
import {
  decideEvents,
  foldMicrovmRecord,
  nameLife,
  type Decision,
  type MicrovmEffect,
  type MicrovmLife,
  type Occasion,
} from '#lifecycle';
import { microvmHistory, type Cause, type MicrovmEvent, type MicrovmRecord } from '#protocol';
import { Partitions } from '../partitions/partitions';
import { HistoryStore, type Outcome } from './history-store';

export type MicrovmOutcome = Outcome<MicrovmLife, Decision>;

interface Listener {
  /** A microVM has a new life, whoever wrote it. */
  changed(life: MicrovmLife): void;
  /** A decision of this process asks for effects that no state waits for; nobody else will do them. */
  asked(life: MicrovmLife, effects: readonly MicrovmEffect[]): void;
}

/** The histories of all microVMs and the one way to add to them. */
@Injectable()
export class MicrovmHistories implements OnModuleInit, OnModuleDestroy {
  readonly index = new FleetIndex();
  #journal!: Journal<MicrovmRecord>;
  #store!: HistoryStore<MicrovmLife, MicrovmRecord>;
  readonly #listeners: Listener[] = [];

  constructor(
    @Inject(NATS) private readonly nats: NatsConnection,
    @Inject(LOGGER) private readonly logger: Logger,
    @Optional() private readonly partitions?: Partitions,
  ) {}

  async onModuleInit(): Promise<void> {
    this.#journal = await openMicrovmJournal(this.nats, ({ subject, sequence, error }) =>
      this.logger.error({ subject, sequence, err: error }, 'a message on a history is no record; skipped'),
    );
    this.#store = new HistoryStore({
      journal: this.#journal,
      subjectOf: microvmHistory,
      idOf: (record) => record.microvmId,
      fold: foldMicrovmRecord,
      named: nameLife,
      lives: this.index,
      onChange: (life) => this.#listeners.forEach((listener) => listener.changed(life)),
      onDamaged: (microvmId, error) =>
        this.logger.error({ microvmId, err: error }, 'a history is damaged; it is left alone'),
    });
    const started = performance.now();
    await this.#store.open((error) => {
      throw error; // uncaught on purpose: nothing may be decided on a history that is lost or illegal
    });
    this.logger.info({ microvms: this.index.size, ms: Math.round(performance.now() - started) }, 'histories folded');
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

  find(id: string): Promise<MicrovmLife | null> {
    return this.#store.find(id);
  }

  /** The same, whatever other replicas wrote until now included. */
  findCurrent(id: string): Promise<MicrovmLife | null> {
    return this.#store.findCurrent(id);
  }

  /** Every record of one microVM, oldest first. */
  async read(id: string): Promise<{ record: MicrovmRecord; sequence: number }[]> {
    return (await this.#journal.read(microvmHistory(id))).entries;
  }

  /**
   * Decides and appends. What the state then entered waits for is {@link MicrovmLife.outstanding}: its partition's owner sees it with the
   * record, whoever wrote it. `newborn`: see {@link HistoryStore.decide}.
   */
  async decide(
    id: string,
    who: { commandId: string; cause: Cause },
    decider: (life: MicrovmLife | null, occasion: Occasion) => Decision,
    newborn = false,
  ): Promise<MicrovmOutcome> {
    const outcome = await this.#store.decide(
      id,
      (life) => decider(life, { microvmId: id, ...who, at: wallClockMs(), machine: this.partitions?.machine }),
      newborn,
    );
    const { decision, life, appended } = outcome;
    if (life && decision.kind === 'record' && appended) {
      const { outstanding } = decision.advance.life;
      this.#ask(
        life,
        decision.advance.effects.filter((effect) => !outstanding.includes(effect)),
      );
    }
    if (life && decision.kind === 'effects') this.#ask(life, decision.effects);
    return outcome;
  }

  /** The same for plain events. */
  record(id: string, who: { commandId: string; cause: Cause }, events: MicrovmEvent[]): Promise<MicrovmOutcome> {
    return this.decide(id, who, (life, occasion) => decideEvents(life, events, occasion));
  }

  #ask(life: MicrovmLife, effects: readonly MicrovmEffect[]): void {
    if (effects.length > 0) this.#listeners.forEach((listener) => listener.asked(life, effects));
  }
}
