import { JournalUnavailableError } from './journal-errors';

interface Waiter {
  readonly sequence: number;
  resolve(): void;
  reject(error: Error): void;
}

/** Those who wait for a follower to reach a sequence, sorted, so that a record costs nothing when nobody waits for it. */
export class SequenceWaiters {
  readonly #waiters: Waiter[] = [];

  add(sequence: number, deadlineMs: number, position: () => number): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        const index = this.#waiters.indexOf(waiter);
        if (index >= 0) this.#waiters.splice(index, 1);
        reject(
          new JournalUnavailableError(
            `sequence ${sequence} was not seen within ${deadlineMs} ms; the follower is at ${position()}`,
            'notWritten',
          ),
        );
      }, deadlineMs);
      const waiter: Waiter = {
        sequence,
        resolve: () => {
          clearTimeout(timer);
          resolve();
        },
        reject: (error) => {
          clearTimeout(timer);
          reject(error);
        },
      };
      // Nearly always the newest sequence: looking from the end is short.
      let index = this.#waiters.length;
      while (index > 0 && this.#waiters[index - 1]!.sequence > sequence) index--;
      this.#waiters.splice(index, 0, waiter);
    });
  }

  reached(position: number): void {
    let count = 0;
    while (count < this.#waiters.length && this.#waiters[count]!.sequence <= position) count++;
    if (count > 0) for (const waiter of this.#waiters.splice(0, count)) waiter.resolve();
  }

  rejectAll(error: Error): void {
    for (const waiter of this.#waiters.splice(0)) waiter.reject(error);
  }
}
