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

  /** All of one host. */
  async hostHistory(hostId: string): Promise<readonly JournalEntry<HostRecord>[]> {
    return (await this.hostJournal.read(hostHistory(hostId))).entries;
  }
}

/** Follows the journal for just so long. */
function page<R>(
  journal: Journal<R>,
  after: number,
  limit: number,
  filter: string | undefined,
): Promise<JournalEntry<R>[]> {
  return new Promise((resolve, reject) => {
    const entries: JournalEntry<R>[] = [];
    const finish = (): void => {
      clearTimeout(timer);
      follower.close();
      resolve(entries);
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
      fromSequence: after + 1,
      ...(filter === undefined ? {} : { filter }),
      onRecord: (entry) => {
        entries.push(entry);
        if (entries.length === limit) finish();
      },
      onCaughtUp: finish,
      onFailure: fail,
    });
  });
}
