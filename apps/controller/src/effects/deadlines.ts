import { Inject, Injectable, type OnModuleDestroy } from '@nestjs/common';
import type { Logger } from 'pino';
import { LOGGER } from '#bus';
import { DeadlineQueue } from '#journal';
import { decideEvents, type MicrovmLife } from '#lifecycle';
import { partitionOf } from '#protocol';
import { MicrovmHistories } from '../histories/microvm-histories';
import { Partitions } from '../partitions/partitions';

/** What a failed firing waits before it is tried again, ms. */
const RETRY_MS = 1_000;

/**
 * The timers of our partitions' microVMs. They are durable without being stored: each is a function of the history that armed it, so
 * folding the histories sets them again, here or in whoever owns the partition next.
 */
@Injectable()
export class Deadlines implements OnModuleDestroy {
  readonly #queue = new DeadlineQueue<string>({ due: (key, atMs) => void this.#fire(key, atMs) });
  readonly #armed = new Map<string, readonly string[]>();

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
    this.#queue.stop();
  }

  #disarm(id: string): void {
    for (const timer of this.#armed.get(id) ?? []) this.#queue.clear(`${id} ${timer}`);
    this.#armed.delete(id);
  }

  #arm(life: MicrovmLife): void {
    for (const timer of this.#armed.get(life.id) ?? []) {
      if (!life.timers.has(timer)) this.#queue.clear(`${life.id} ${timer}`);
    }
    if (life.timers.size === 0) {
      this.#armed.delete(life.id);
      return;
    }
    this.#armed.set(life.id, [...life.timers.keys()]);
    for (const { name, dueAt } of life.timers.values()) {
      const key = `${life.id} ${name}`;
      if (this.#queue.get(key) !== dueAt) this.#queue.set(key, dueAt);
    }
  }

  async #fire(key: string, atMs: number): Promise<void> {
    const [id, timer] = key.split(' ') as [string, string];
    if (!this.partitions.owns(id)) return; // the owner has it in its own queue
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
        this.#queue.set(key, armed.dueAt > atMs ? armed.dueAt : Date.now() + armed.delayMs);
      }
    } catch (error) {
      this.logger.warn({ err: error, microvmId: id, timer }, 'a deadline could not be recorded yet');
      this.#queue.set(key, Date.now() + RETRY_MS);
    }
  }
}
