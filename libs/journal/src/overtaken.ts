import type { MsgHdrs } from 'nats';

const EXPECTED = 'Nats-Expected-Last-Subject-Sequence';

/** The last sequence of its subject that the writer of a message knew; undefined when it expected none in particular. */
export function expectationIn(headers: MsgHdrs | undefined): number | undefined {
  const text = headers?.get(EXPECTED);
  return text ? Number(text) : undefined;
}

/** Two records of one race lie close together: they were on their way at the same time. */
const WINDOW = 16_384;

/**
 * Tells which records do not count. The servers of a cluster compare the expected sequence of a record before they agree on its place, not
 * when they store it, so of several that were on their way at the same time each may be stored
 * (https://github.com/nats-io/nats-server/issues/4320). A record counts when no record of its subject that counts was stored between it
 * and what its writer knew. Every reader sees that from what is stored, so all agree, and its writer asks before it goes by it.
 *
 * Records are to be shown in the order of their sequences.
 */
export class Overtaken {
  /** Last record that counts, by subject, the latest last. */
  readonly #last = new Map<string, number>();

  /** `expected` of an earlier sequence than the last one that counts: overtaken. */
  isOvertaken(subject: string, sequence: number, expected: number | undefined): boolean {
    const last = this.#last.get(subject);
    if (expected !== undefined && last !== undefined && expected < last && sequence - last <= WINDOW) return true;
    this.counts(subject, sequence);
    return false;
  }

  /** Notes one that is known to count. */
  counts(subject: string, sequence: number): void {
    this.#last.delete(subject);
    this.#last.set(subject, sequence);
    for (const [oldest, at] of this.#last) {
      if (sequence - at <= WINDOW) break;
      this.#last.delete(oldest);
    }
  }
}
