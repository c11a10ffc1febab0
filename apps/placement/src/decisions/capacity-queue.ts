import { DeadlineQueue, type Clock } from '#journal';
import type { Decision } from '#protocol';
import { ABANDONED_MS, FairQueue, offerHost, offerTurn, type Demand, type Occasion } from '#scheduling';
import type { Decider, Made } from './decider';
import type { Asked } from './placement-request';

/** Something that no host can take yet. */
export interface Waiting {
  asked: Asked;
  /** ms since 1970. */
  waitUntil: number;
  /** What its asker was told at first. */
  first: Promise<Decision>;
  /** Told once: what was decided in the end. */
  decided: (made: Made) => void;
}

type InLine = Waiting & { demand: Demand; askedAt: number };

/**
 * What waits for capacity, in turns of tenants. Soft state: whoever waits asks again now and then, and the deadline that counts
 * is the history's.
 */
export class CapacityQueue {
  readonly #lines = new FairQueue<InLine>();
  readonly #deadlines: DeadlineQueue<string>;

  constructor(
    private readonly decider: Decider,
    private readonly clock: Clock,
  ) {
    this.#deadlines = new DeadlineQueue({ due: (key) => this.#due(key), clock });
  }

  get size(): number {
    return this.#lines.size;
  }

  /** Who waits under this key has asked again. Undefined: nobody does. */
  askedAgain(key: string): Waiting | undefined {
    const waiting = this.#lines.get(key);
    if (waiting) waiting.askedAt = this.clock.now();
    return waiting;
  }

  /** Whether others of this tenant wait, who come first. */
  hasLineOf(tenant: string): boolean {
    return !this.#lines.isEmptyFor(tenant);
  }

  add(key: string, waiting: Waiting): void {
    const askedAt = this.clock.now();
    const { demand } = waiting.asked;
    this.#lines.add(demand.tenant, key, { ...waiting, demand, askedAt });
    this.#arm(key, waiting.waitUntil, askedAt);
  }

  /** There is news of a host: those whose turn it is and who fit there are placed. */
  offer(hostId: string): void {
    offerHost(this.#lines, hostId, this.#occasionOf, this.#place);
  }

  /** Nobody wants it any more. Whether it waited. */
  withdraw(key: string): boolean {
    const left = this.#lines.remove(key);
    if (!left) return false;
    this.#deadlines.clear(key);
    this.#offerTurn(left.demand.tenant);
    return true;
  }

  stop(): void {
    this.#deadlines.stop();
  }

  readonly #occasionOf = (demand: Demand): Occasion => this.decider.occasionOf(demand);

  readonly #place = (waiting: InLine, key: string): void => {
    this.#deadlines.clear(key);
    waiting.decided(this.decider.decide(waiting.asked));
  };

  #offerTurn(tenant: string): void {
    offerTurn(this.#lines, tenant, this.#occasionOf, this.#place);
  }

  #arm(key: string, waitUntil: number, askedAt: number): void {
    this.#deadlines.set(key, Math.min(waitUntil, askedAt + ABANDONED_MS));
  }

  #due(key: string): void {
    const waiting = this.#lines.get(key);
    if (!waiting) return;
    const now = this.clock.now();
    if (now < waiting.waitUntil && now < waiting.askedAt + ABANDONED_MS) {
      return this.#arm(key, waiting.waitUntil, waiting.askedAt);
    }
    this.#lines.remove(key);
    // Its last decision: that there is no host even now, or one that only just became free.
    if (now >= waiting.waitUntil) waiting.decided(this.decider.decide(waiting.asked));
    this.#offerTurn(waiting.demand.tenant);
  }
}
