import type { StoredMicrovmRecord } from '../past/stored-record';

/**
 * Finds histories that ended before an instant and hold more than their end, from the records of all in their order. One that was
 * compacted already begins with its end and is not found again.
 */
export class ExpiredHistories {
  /** Of whom more than the end is on record. */
  readonly #begun = new Set<string>();

  constructor(private readonly endedBefore: number) {}

  /** The id of the history that this record ends, if it is to be compacted. */
  take({ microvmId, to, at }: StoredMicrovmRecord): string | undefined {
    if (to !== 'deleted') {
      this.#begun.add(microvmId);
      return undefined;
    }
    return this.#begun.delete(microvmId) && at < this.endedBefore ? microvmId : undefined;
  }
}
