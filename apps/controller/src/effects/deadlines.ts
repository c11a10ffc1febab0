import { Inject, Injectable, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import type { Logger } from 'pino';
import { LOGGER } from '#bus';
import { DeadlineQueue } from '#journal';
import type { MicrovmLife } from '#lifecycle';
import { MicrovmHistories } from '../histories/microvm-histories';

/** What a failed firing waits before it is tried again, ms. */
const RETRY_MS = 1_000;

/**
 * The timers of all microVMs. They are durable without being stored: each is a function of the history that armed it, so
 * folding the histories sets them again.
 */
@Injectable()
export class Deadlines implements OnApplicationBootstrap, OnModuleDestroy {
  readonly #queue = new DeadlineQueue<string>({ due: (key, atMs) => void this.#fire(key, atMs) });
  readonly #armed = new Map<string, readonly string[]>();
  #running = false;

  constructor(
    private readonly histories: MicrovmHistories,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    histories.listen({
      changed: (life) => {
        if (this.#running) this.#arm(life);
      },
      asked: () => {},
    });
  }

  onApplicationBootstrap(): void {
    this.#running = true;
    for (const life of this.histories.index.values()) this.#arm(life);
  }

  onModuleDestroy(): void {
    this.#queue.stop();
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
    try {
      const { decision, life } = await this.histories.record(
        id,
        { commandId: `timer.${timer}.${Math.round(atMs)}`, cause: { kind: 'timer', by: timer } },
        [{ type: 'deadlinePassed', timer }],
      );
      // Nothing changed: a review. It comes again after the same time.
      const armed = life?.timers.get(timer);
      if (decision.kind !== 'record' && armed) this.#queue.set(key, Date.now() + armed.delayMs);
    } catch (error) {
      this.logger.warn({ err: error, microvmId: id, timer }, 'a deadline could not be recorded yet');
      this.#queue.set(key, Date.now() + RETRY_MS);
    }
  }
}
