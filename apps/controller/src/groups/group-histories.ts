import { Inject, Injectable, type OnModuleDestroy, type OnModuleInit } from '@nestjs/common';
import type { NatsConnection } from 'nats';
import type { Logger } from 'pino';
import { LOGGER, NATS } from '#bus';
import { openGroupJournal } from '#fleet';
import { wallClockMs, type Journal } from '#journal';
import { decideGroupEvents, foldGroupRecord, type GroupDecision, type GroupLife } from '#lifecycle';
import { groupHistory, type Cause, type GroupEvent, type GroupRecord } from '#protocol';
import { HistoryStore, type Outcome } from '../histories/history-store';

/** The histories of all groups and the one way to add to them. */
@Injectable()
export class GroupHistories implements OnModuleInit, OnModuleDestroy {
  readonly #lives = new Map<string, GroupLife>();
  /** microVM -> the group that has it as a member. */
  readonly #groupOf = new Map<string, string>();
  #journal!: Journal<GroupRecord>;
  #store!: HistoryStore<GroupLife, GroupRecord>;
  readonly #listeners: ((life: GroupLife) => void)[] = [];

  constructor(
    @Inject(NATS) private readonly nats: NatsConnection,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  async onModuleInit(): Promise<void> {
    this.#journal = await openGroupJournal(this.nats, ({ subject, sequence, error }) =>
      this.logger.error({ subject, sequence, err: error }, 'a message on a history is no record; skipped'),
    );
    this.#store = new HistoryStore({
      journal: this.#journal,
      subjectOf: groupHistory,
      idOf: (record) => record.groupId,
      fold: foldGroupRecord,
      named: (life, id, revision) => ({ ...life, id, revision }),
      lives: { get: (id) => this.#lives.get(id), set: (life) => this.#set(life) },
      onChange: (life) => this.#listeners.forEach((listener) => listener(life)),
      onDamaged: (groupId, error) =>
        this.logger.error({ groupId, err: error }, 'a history is damaged; it is left alone'),
    });
    await this.#store.open((error) => {
      throw error; // uncaught on purpose, as for microVMs
    });
  }

  onModuleDestroy(): void {
    this.#store.close();
  }

  /** Called for every new life of a group, whoever wrote its record. */
  onChange(listener: (life: GroupLife) => void): void {
    this.#listeners.push(listener);
  }

  /** Sequence of the last record folded in. */
  get position(): number {
    return this.#store.position;
  }

  get(id: string): GroupLife | undefined {
    return this.#lives.get(id);
  }

  all(): GroupLife[] {
    return [...this.#lives.values()];
  }

  /** The group that a microVM is a member of. */
  groupOf(microvmId: string): string | undefined {
    return this.#groupOf.get(microvmId);
  }

  /** The latest records of one group, oldest first. */
  async read(id: string): Promise<{ record: GroupRecord; sequence: number }[]> {
    return (await this.#journal.read(groupHistory(id))).entries;
  }

  /** Decides and appends; `events` says what follows from a life, none: nothing. */
  decide(
    groupId: string,
    who: { commandId: string; cause: Cause },
    events: (life: GroupLife | null) => GroupEvent[],
  ): Promise<Outcome<GroupLife, GroupDecision>> {
    return this.#store.decide(groupId, (life) =>
      decideGroupEvents(life, events(life), { groupId, ...who, at: wallClockMs() }),
    );
  }

  #set(life: GroupLife): void {
    for (const id of this.#lives.get(life.id)?.members.keys() ?? []) {
      if (!life.members.has(id)) this.#groupOf.delete(id);
    }
    for (const id of life.members.keys()) this.#groupOf.set(id, life.id);
    this.#lives.set(life.id, life);
  }
}
