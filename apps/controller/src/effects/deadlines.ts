import { Inject, Injectable, type OnModuleDestroy } from '@nestjs/common';
import type { Logger } from 'pino';
import { LOGGER } from '#bus';
import { DeadlineQueue, steadyClock, steadyDue, systemClock, type Clock } from '#journal';
import { decideEvents, type MicrovmLife, type Timer, type Timers } from '#lifecycle';
import { OperationError, partitionOf } from '#protocol';
import { MicrovmHistories, type MicrovmOutcome } from '../histories/microvm-histories';
import { Partitions } from '../partitions/partitions';
import { QuotaGate } from '../tenants/quota-gate';

/** What a failed firing waits before it is tried again, ms. */
const RETRY_MS = 1_000;
/** The same for a start that its tenant has no room for. */
const REFUSED_MS = 30_000;
/** Timers that start a microVM. */
const STARTS: ReadonlySet<string> = new Set(['scheduledStart']);
/** Timers that mean an hour of the day. All others mean a length of time, which steps of the wall clock do not change. */
const BY_WALL_CLOCK: ReadonlySet<string> = new Set(['scheduledStart', 'scheduledStop']);

/** Timers that go by one clock. The queue holds one entry for each microVM, for the one that is due first. */
interface Kind {
  readonly includes: (timer: Timer) => boolean;
  readonly clock: Clock;
  /** On that clock. */
  readonly dueAt: (timer: Timer) => number;
  readonly queue: DeadlineQueue<string>;
}

/**
 * The timers of our partitions' microVMs. They are durable without being stored: each is a function of the history that armed it, so
 * folding the histories sets them again, here or in whoever owns the partition next.
 */
@Injectable()
export class Deadlines implements OnModuleDestroy {
  readonly #kinds: readonly Kind[] = [
    this.#kind((timer) => !BY_WALL_CLOCK.has(timer.name), steadyClock, steadyDue),
    this.#kind(
      (timer) => BY_WALL_CLOCK.has(timer.name),
      systemClock,
      ({ dueAt }) => dueAt,
    ),
  ];
  /** microVM -> the timers that it is in the queues with. */
  readonly #armed = new Map<string, Timers>();

  constructor(
    private readonly histories: MicrovmHistories,
    private readonly partitions: Partitions,
    private readonly quotas: QuotaGate,
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
    for (const { queue } of this.#kinds) queue.stop();
  }

  #kind(includes: Kind['includes'], clock: Clock, dueAt: Kind['dueAt']): Kind {
    const queue = new DeadlineQueue<string>({ due: (id) => void this.#fire(id, kind), clock });
    const kind: Kind = { includes, clock, dueAt, queue };
    return kind;
  }

  #disarm(id: string): void {
    for (const { queue } of this.#kinds) queue.clear(id);
    this.#armed.delete(id);
  }

  #arm({ id, timers }: MicrovmLife): void {
    // The same timers: what is left of them is not measured anew, for the wall clock may have been put since.
    if (this.#armed.get(id) === timers) return;
    this.#disarm(id);
    if (timers.size === 0) return;
    this.#armed.set(id, timers);
    for (const kind of this.#kinds) {
      const [first] = inOrder(timers, kind);
      if (first) kind.queue.set(id, kind.dueAt(first));
    }
  }

  /**
   * Lets everything of this kind pass that is due, until one of it changes the microVM and its timers with it. Those that change
   * nothing stay armed, and must not keep the later ones from passing.
   */
  async #fire(id: string, kind: Kind): Promise<void> {
    const timers = this.#armed.get(id);
    if (!timers || !this.partitions.owns(id)) return; // the owner has it in its own queue
    let againAt = Infinity;
    for (const [i, timer] of inOrder(timers, kind).entries()) {
      // It woke for the first; by the clock as it is now that may even lie ahead.
      if (i > 0 && kind.dueAt(timer) > kind.clock.now()) {
        againAt = Math.min(againAt, kind.dueAt(timer));
        break;
      }
      const againMs = await this.#pass(id, timer);
      if (againMs === undefined || this.#armed.get(id) !== timers) return;
      againAt = Math.min(againAt, kind.clock.now() + againMs);
    }
    if (againAt < Infinity) kind.queue.set(id, againAt);
  }

  /** Gives after how long it passes again, in ms; undefined: the microVM has changed, and its timers are set anew. */
  async #pass(id: string, { name, dueAt, delayMs }: Timer): Promise<number | undefined> {
    const who = { commandId: `timer.${name}.${Math.round(dueAt)}`, cause: { kind: 'timer' as const, by: name } };
    const record = (): Promise<MicrovmOutcome> =>
      this.histories.decide(id, who, (life, occasion) => {
        // Set again meanwhile, by a record that another replica wrote.
        if (life && (life.timers.get(name)?.dueAt ?? 0) > dueAt) return { kind: 'nothing' };
        return decideEvents(life, [{ type: 'deadlinePassed', timer: name }], occasion);
      });
    try {
      const { decision, life } = await (STARTS.has(name) ? this.quotas.start(id, record) : record());
      if (decision.kind === 'record' || !life) return undefined;
      const armed = life.timers.get(name);
      if (!armed || armed.dueAt > dueAt) {
        this.#arm(life);
        return undefined;
      }
      // Nothing changed: a review, or something stands against it. It passes again after the same time.
      return delayMs;
    } catch (error) {
      this.logger.warn({ err: error, microvmId: id, timer: name }, 'a deadline could not be recorded yet');
      return error instanceof OperationError && error.code === 'refused' ? REFUSED_MS : RETRY_MS;
    }
  }
}

/** The timers of one kind, those due first in front. */
function inOrder(timers: Timers, { includes }: Kind): Timer[] {
  return [...timers].filter(includes).sort((a, b) => a.dueAt - b.dueAt);
}
