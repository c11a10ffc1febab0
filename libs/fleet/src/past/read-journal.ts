import type { Journal, JournalEntry } from '#journal';
import { OperationError } from '#protocol';

export interface ReadOptions<R> {
  /** Default 1. */
  fromSequence?: number;
  /** Gets every record in order; `enough` ends the reading. An exception from it ends the reading, too, and rejects. */
  onRecord: (entry: JournalEntry<R>) => 'enough' | void;
  deadlineMs: number;
  signal?: AbortSignal | undefined;
}

/**
 * Reads a journal up to where it ended when the reading began. Resolves with the last sequence that was looked at.
 *
 * @throws OperationError `timeout`; HistoryLostError when `fromSequence` is not on record any more; the signal's reason.
 */
export function readJournal<R>(
  journal: Journal<R>,
  { fromSequence = 1, onRecord, deadlineMs, signal }: ReadOptions<R>,
): Promise<number> {
  return new Promise((resolve, reject) => {
    const settle = (error?: Error): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
      follower.close();
      if (error) reject(error);
      else resolve(follower.position);
    };
    const abort = (): void => settle(signal!.reason as Error);
    const timer = setTimeout(
      () => settle(new OperationError('timeout', `${journal.stream} could not be read within ${deadlineMs / 1_000} s`)),
      deadlineMs,
    );
    const follower = journal.follow({
      fromSequence,
      onRecord: (entry) => {
        if (onRecord(entry) === 'enough') settle();
      },
      onCaughtUp: () => settle(),
      onFailure: settle,
    });
    if (signal?.aborted) abort();
    else signal?.addEventListener('abort', abort, { once: true });
  });
}
