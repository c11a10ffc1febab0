import type { Journal } from '#journal';
import { microvmHistory } from '#protocol';
import type { StoredMicrovmRecord } from '../past/stored-record';
import { ExpiredHistories } from './expired-histories';

export interface CompactOptions {
  journal: Journal<StoredMicrovmRecord>;
  /** Histories of microVMs that were deleted before this are compacted, ms since 1970. */
  endedBefore: number;
  /** Asked before every step; false: somebody else goes on with it. */
  mayGoOn: () => boolean;
  /** Waits between two steps, so that others come to their turn. `tookMs`: what the step took. */
  pause: (tookMs: number) => Promise<void>;
  /** Most histories that are found by one reading. Default 10,000. */
  batch?: number;
}

const BATCH = 10_000;
const READ_DEADLINE_MS = 600_000;

/**
 * Compacts histories to their last record, one after the other. Each is compacted at once or not at all, and what is compacted is not
 * found again; so it may end anywhere, by a crash too, and be begun anew by anybody. Tells how many it compacted.
 *
 * @throws JournalUnavailableError
 */
export async function compactExpired(options: CompactOptions): Promise<number> {
  const { journal, mayGoOn, pause } = options;
  let compacted = 0;
  for (;;) {
    const { found, isAll } = await findExpired(options);
    for (const id of found) {
      if (!mayGoOn()) return compacted;
      const startedMs = performance.now();
      await journal.compact(microvmHistory(id));
      compacted++;
      await pause(performance.now() - startedMs);
    }
    if (isAll) return compacted;
  }
}

async function findExpired(options: CompactOptions): Promise<{ found: string[]; isAll: boolean }> {
  const { journal, endedBefore, batch = BATCH } = options;
  const expired = new ExpiredHistories(endedBefore);
  const found: string[] = [];
  await journal.scan({
    deadlineMs: READ_DEADLINE_MS,
    onRecord: ({ record }) => {
      const id = expired.take(record);
      if (id !== undefined) found.push(id);
      return found.length === batch ? 'enough' : undefined;
    },
  });
  return { found, isAll: found.length < batch };
}
