import { Residency, type ResidencyRecord, type Stay } from '#lifecycle';
import { OperationError, timeOfId, type Span } from '#protocol';
import type { StoredMicrovmRecord } from './stored-record';

/** How many stays one answer may be made of. */
const MOST_STAYS = 500_000;

/** Gathers where every microVM was in a span of time, from the records of all histories in their order. */
export class StaysIn {
  readonly #residencies = new Map<string, Residency>();
  readonly #ended: Stay[] = [];
  #unknown = 0;

  constructor(private readonly window: Span) {}

  /** MicroVMs that lived in that time and of which only the end is on record. */
  get unknown(): number {
    return this.#unknown;
  }

  /** @throws OperationError `refused` when it is more than anybody could read. */
  take(stored: StoredMicrovmRecord): void {
    const { microvmId: id, from, to, at } = stored;
    const record = stored as StoredMicrovmRecord & Partial<ResidencyRecord>;
    if (!Array.isArray(record.events)) return;
    let residency = this.#residencies.get(id);
    if (!residency) {
      if (from !== null) return this.#takeFragment(id, to, at);
      this.#residencies.set(id, (residency = new Residency()));
    }
    for (const stay of residency.take(record as ResidencyRecord)) {
      if (stay.from < this.window.to && stay.to! > this.window.from) this.#ended.push(stay);
    }
    if (to === 'deleted') this.#residencies.delete(id);
    if (this.#ended.length > MOST_STAYS) {
      throw new OperationError(
        'refused',
        `more than ${MOST_STAYS} stays on hosts fall into that time; ask for a shorter one`,
      );
    }
  }

  /** Those that ended, then those that last. */
  *all(): Generator<Stay> {
    yield* this.#ended;
    for (const [id, residency] of this.#residencies) {
      const stay = residency.at(id);
      if (stay) yield stay;
    }
  }

  #takeFragment(id: string, to: string, at: number): void {
    const born = timeOfId(id) ?? 0;
    if (to === 'deleted' && at > this.window.from && born < this.window.to) this.#unknown++;
  }
}
