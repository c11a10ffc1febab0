import { Inject, Injectable, type OnModuleDestroy } from '@nestjs/common';
import type { Logger } from 'pino';
import { LOGGER } from '#bus';
import { DeadlineQueue, steadyClock, steadyDue } from '#journal';
import { decideEvents, type MicrovmLife, type Timer } from '#lifecycle';
import { partitionOf } from '#protocol';
import { MicrovmHistories } from '../histories/microvm-histories';
import { Partitions } from '../partitions/partitions';

/** What a failed firing waits before it is tried again, ms. */
const RETRY_MS = 1_000;
/** Timers that mean an hour of the day. All others mean a length of time, which steps of the wall clock do not change. */
const BY_WALL_CLOCK: ReadonlySet<string> = new Set(['scheduledStart', 'scheduledStop']);

/**
 * The timers of our partitions' microVMs. They are durable without being stored: each is a function of the history that armed it, so
 * folding the histories sets them again, here or in whoever owns the partition next.
 */
@Injectable()
export class Deadlines implements OnModuleDestroy {
  readonly #waits = new DeadlineQueue<string>({ due: (key) => void this.#fire(key), clock: steadyClock });
  readonly #hours = new DeadlineQueue<string>({ due: (key) => void this.#fire(key) });
  /** microVM -> its timers that were set. */
  readonly #armed = new Map<string, MicrovmLife['timers']>();

  constructor(
    private readonly histories: MicrovmHistories,
    private readonly partitions: Partitions,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    histories.listen({
      changed: (life) => {
        if (partitions.owns(life.id)) this.#arm(life);
      },
      asked: () => {},
    });
    partitions.onChange(({ gained, lost }) => {
      for (const life of histories.index.values()) {
        const partition = partitionOf(life.id);
        if (gained.has(partition)) this.#arm(life);
        else if (lost.has(partition)) this.#disarm(life.id);
      }
    });
  }

  onModuleDestroy(): void {
    this.#waits.stop();
    this.#hours.stop();
  }

  #disarm(id: string): void {
    for (const { name } of this.#armed.get(id) ?? []) this.#clear(`${id} ${name}`);
    this.#armed.delete(id);
  }

  #arm({ id, timers }: MicrovmLife): void {
    const before = this.#armed.get(id);
    for (const { name } of before ?? []) if (!timers.has(name)) this.#clear(`${id} ${name}`);
    if (timers.size === 0) {
      this.#armed.delete(id);
      return;
    }
    this.#armed.set(id, timers);
    for (const timer of timers)
      if (before?.get(timer.name)?.dueAt !== timer.dueAt) this.#set(`${id} ${timer.name}`, timer);
  }

  #set(key: string, timer: Timer): void {
    if (BY_WALL_CLOCK.has(timer.name)) this.#hours.set(key, timer.dueAt);
    else this.#waits.set(key, steadyDue(timer));
  }

  #clear(key: string): void {
    this.#waits.clear(key);
    this.#hours.clear(key);
  }

  async #fire(key: string): Promise<void> {
    const [id, timer] = key.split(' ') as [string, string];
    const atMs = this.#armed.get(id)?.get(timer)?.dueAt;
    if (atMs === undefined || !this.partitions.owns(id)) return; // the owner has it in its own queue
    const who = { commandId: `timer.${timer}.${Math.round(atMs)}`, cause: { kind: 'timer' as const, by: timer } };
    try {
      const { decision, life } = await this.histories.decide(id, who, (life, occasion) => {
        // Set again meanwhile, by a record that another replica wrote.
        if (life && (life.timers.get(timer)?.dueAt ?? 0) > atMs) return { kind: 'nothing' };
        return decideEvents(life, [{ type: 'deadlinePassed', timer }], occasion);
      });
      // Nothing changed: set again meanwhile, or a review, which comes again after the same time.
      const armed = life?.timers.get(timer);
      if (decision.kind !== 'record' && armed) {
        if (armed.dueAt > atMs) this.#set(key, armed);
        else this.#waits.set(key, steadyClock.now() + armed.delayMs);
      }
    } catch (error) {
      this.logger.warn({ err: error, microvmId: id, timer }, 'a deadline could not be recorded yet');
      this.#waits.set(key, steadyClock.now() + RETRY_MS);
    }
  }
}
