import { JetStreamApiError } from '@nats-io/jetstream';
import type { NatsConnection } from 'nats';
import type { ConnectionWatch } from './connection-watch';
import { JournalError, JournalUnavailableError } from './journal-errors';
import { lacksPeers } from './stream-config';

/** Between attempts while JetStream does not answer, in ms. */
export const RETRY_DELAY_MS = 50;

/** Repeats something without effects until it succeeds, the error is final, or time is up. */
export async function retry<T>(
  nc: NatsConnection,
  deadlineMs: number,
  what: string,
  attempt: () => Promise<T>,
  watch?: ConnectionWatch,
): Promise<T> {
  const deadline = performance.now() + deadlineMs;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      const final =
        error instanceof JournalError ||
        (error instanceof JetStreamApiError && error.status < 500 && !lacksPeers(error));
      if (final) throw error;
      const left = deadline - performance.now();
      if (left <= 0 || nc.isClosed() || nc.isDraining()) {
        throw new JournalUnavailableError(`could not ${what} within ${deadlineMs} ms: ${String(error)}`, 'notWritten', {
          cause: error,
        });
      }
      const pause = Math.min(RETRY_DELAY_MS, left);
      await (watch ? watch.reconnected(pause) : new Promise((resolve) => setTimeout(resolve, pause)));
    }
  }
}
