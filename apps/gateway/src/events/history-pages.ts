import type { Journal, JournalEntry } from '#journal';
import {
  groupHistory,
  hostHistory,
  microvmHistory,
  OperationError,
  type GroupRecord,
  type HostRecord,
  type MicrovmRecord,
} from '#protocol';

/** Records read back from the histories, a bounded number at a time. */
export interface HistoryPages {
  /** MicroVM records after a sequence, of all microVMs or of one. Fewer than `limit`: that was all. */
  microvms(after: number, limit: number, microvmId?: string): Promise<JournalEntry<MicrovmRecord>[]>;
  hosts(after: number, limit: number): Promise<JournalEntry<HostRecord>[]>;
  groups(after: number, limit: number, groupId?: string): Promise<JournalEntry<GroupRecord>[]>;
}

const PAGE_DEADLINE_MS = 10_000;
/** Places of the journal of all hosts in which the latest entries of one are looked for first, and how many times as many then. */
const FIRST_SPAN = 4_096;
const SPAN_GROWTH = 8;

export class JournalPages implements HistoryPages {
  constructor(
    private readonly microvmJournal: Journal<MicrovmRecord>,
    private readonly hostJournal: Journal<HostRecord>,
    private readonly groupJournal: Journal<GroupRecord>,
  ) {}

  microvms(after: number, limit: number, microvmId?: string): Promise<JournalEntry<MicrovmRecord>[]> {
    return page(this.microvmJournal, after, limit, microvmId === undefined ? undefined : microvmHistory(microvmId));
  }

  hosts(after: number, limit: number): Promise<JournalEntry<HostRecord>[]> {
    return page(this.hostJournal, after, limit, undefined);
  }

  groups(after: number, limit: number, groupId?: string): Promise<JournalEntry<GroupRecord>[]> {
    return page(this.groupJournal, after, limit, groupId === undefined ? undefined : groupHistory(groupId));
  }

  /** The latest entries of one host before a sequence, in order, and whether there are earlier ones. Undefined: it never registered. */
  async latestOfHost(
    hostId: string,
    { before, limit }: { before: number; limit: number },
  ): Promise<{ entries: JournalEntry<HostRecord>[]; more: boolean } | undefined> {
    const filter = hostHistory(hostId);
    const last = await this.hostJournal.lastSequenceOf(filter);
    if (last === 0) return undefined;
    const end = Math.min(before, last + 1);
    // A journal is read forwards: from ever further back, until enough lies between there and the end.
    for (let span = FIRST_SPAN; ; span *= SPAN_GROWTH) {
      const fromSequence = Math.max(1, end - span);
      const latest: JournalEntry<HostRecord>[] = [];
      await read(this.hostJournal, { fromSequence, filter }, (entry) => {
        if (entry.sequence < end && latest.push(entry) > limit + 1) latest.shift();
        return entry.sequence >= end - 1;
      });
      const more = latest.length > limit;
      if (more || fromSequence === 1) return { entries: latest.slice(-limit), more };
    }
  }
}

/** Follows the journal for just so long. */
async function page<R>(
  journal: Journal<R>,
  after: number,
  limit: number,
  filter: string | undefined,
): Promise<JournalEntry<R>[]> {
  const entries: JournalEntry<R>[] = [];
  const options = { fromSequence: after + 1, ...(filter === undefined ? {} : { filter }) };
  await read(journal, options, (entry) => entries.push(entry) === limit);
  return entries;
}

/** Follows the journal until `isEnough`, or to the end of what is there. */
function read<R>(
  journal: Journal<R>,
  options: { fromSequence: number; filter?: string },
  isEnough: (entry: JournalEntry<R>) => boolean,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const finish = (): void => {
      clearTimeout(timer);
      follower.close();
      resolve();
    };
    const fail = (error: Error): void => {
      clearTimeout(timer);
      follower.close();
      reject(error);
    };
    const timer = setTimeout(
      () => fail(new OperationError('timeout', `the histories could not be read within ${PAGE_DEADLINE_MS} ms`)),
      PAGE_DEADLINE_MS,
    );
    const follower = journal.follow({
      ...options,
      onRecord: (entry) => {
        if (isEnough(entry)) finish();
      },
      onCaughtUp: finish,
      onFailure: fail,
    });
  });
}
