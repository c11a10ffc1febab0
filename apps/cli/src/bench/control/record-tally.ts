import type { NatsConnection } from 'nats';
import { Journal, type Follower } from '#journal';
import { MICROVM_STREAM } from '#protocol';

interface Row {
  at: number;
  microvmId: string;
  to: string;
  events: { type: string; decidedAt?: number }[];
}

/** What one microVM's history told of its start, ms since 1970 on the controllers' clock. */
export interface StartSteps {
  acceptedAt: number;
  decidedAt?: number;
  runningAt?: number;
}

/** Follows the histories, for nothing but the instants of starts: the load's own view must not cost what it measures. */
export class RecordTally {
  readonly starts = new Map<string, StartSteps>();
  running = 0;
  readonly #waiters: { count: number; resolve: () => void }[] = [];
  readonly #waitersOf = new Map<string, () => void>();
  #follower: Follower | undefined;

  async open(nats: NatsConnection): Promise<void> {
    const journal = await Journal.open<Row>(nats, {
      stream: MICROVM_STREAM.name,
      subjects: [...MICROVM_STREAM.subjects],
      immutable: false,
    });
    this.#follower = journal.follow({
      onRecord: ({ record }) => this.#count(record),
      onFailure: (error) => {
        throw error;
      },
    });
    await this.#follower.caughtUp;
  }

  close(): void {
    this.#follower?.close();
  }

  /** Resolves when this one has reached `running`. */
  async untilRuns(id: string): Promise<void> {
    if (this.starts.get(id)?.runningAt !== undefined) return;
    await new Promise<void>((resolve) => this.#waitersOf.set(id, resolve));
    this.#waitersOf.delete(id);
  }

  /** Resolves when so many have reached `running` since the beginning; false when the deadline passes before. */
  async untilRunning(count: number, deadlineMs: number): Promise<boolean> {
    if (this.running >= count) return true;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<false>((resolve) => (timer = setTimeout(() => resolve(false), deadlineMs)));
    const reached = new Promise<true>((resolve) => this.#waiters.push({ count, resolve: () => resolve(true) }));
    return Promise.race([reached, late]).finally(() => clearTimeout(timer));
  }

  #count({ at, microvmId, to, events }: Row): void {
    for (const { type, decidedAt } of events) {
      if (type === 'requested') this.starts.set(microvmId, { acceptedAt: at });
      const steps = this.starts.get(microvmId);
      if (steps && type === 'placed' && decidedAt !== undefined) steps.decidedAt = decidedAt;
    }
    if (to !== 'running') return;
    const steps = this.starts.get(microvmId);
    if (!steps || steps.runningAt !== undefined) return;
    steps.runningAt = at;
    this.running++;
    this.#waitersOf.get(microvmId)?.();
    while (this.#waiters[0] && this.#waiters[0].count <= this.running) this.#waiters.shift()!.resolve();
  }
}
