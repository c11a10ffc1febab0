import { randomUUID } from 'node:crypto';
import type { GuardAct } from '#protocol';
import type { OutboxActs } from '../journal/host-record';

/** Acts that happen within so long are told together, ms. */
const TOGETHER_MS = 1_000;
/** Records that may follow each other at once, and how long it takes until one more may, ms: at most 1,446 a day. */
const BURST = 6;
const REFILL_MS = 60_000;
/** Acts in one record; the others are counted. */
const ACTS_MOST = 50;

/**
 * Turns what guards do into records for the history of the host. However busy they are, a history grows by one record a minute and
 * fifty acts in each: turns of admission go before what was reclaimed, and what finds no room is counted.
 */
export class GuardActs {
  #acts: GuardAct[] = [];
  #omitted = 0;
  #credit = BURST;
  #creditAtMs: number;
  #timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly write: (acts: OutboxActs) => void,
    private readonly nowMs: () => number,
  ) {
    this.#creditAtMs = nowMs();
  }

  add(act: GuardAct): void {
    if (this.#acts.length < ACTS_MOST) this.#acts.push(act);
    else this.#makeRoomFor(act);
    this.#timer ??= setTimeout(() => this.#flush(), Math.max(TOGETHER_MS, this.#waitMs())).unref();
  }

  /** Writes what is left, for the next agent to tell. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#flush();
  }

  #makeRoomFor(act: GuardAct): void {
    this.#omitted++;
    if (act.act !== 'admission') return;
    const at = this.#acts.findIndex((one) => one.act === 'reclaim');
    this.#acts.splice(Math.max(at, 0), 1);
    this.#acts.push(act);
  }

  #waitMs(): number {
    const nowMs = this.nowMs();
    this.#credit = Math.min(BURST, this.#credit + (nowMs - this.#creditAtMs) / REFILL_MS);
    this.#creditAtMs = nowMs;
    return this.#credit >= 1 ? 0 : (1 - this.#credit) * REFILL_MS;
  }

  #flush(): void {
    this.#timer = undefined;
    if (this.#acts.length === 0) return;
    this.#waitMs();
    this.#credit -= 1;
    this.write({ factId: randomUUID(), acts: this.#acts, omitted: this.#omitted });
    this.#acts = [];
    this.#omitted = 0;
  }
}
