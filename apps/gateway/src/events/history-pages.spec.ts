import { connect, type NatsConnection } from 'nats';
import { Journal, type FollowOptions } from '#journal';
import { hostHistory, type HostRecord } from '#protocol';
import { describeWithNats, startNatsServer, type NatsServer } from '../../../../test/support/nats-server';
import { JournalPages } from './history-pages';

const MINE = 'host-mine';
const OTHER = 'host-other';
const WRITTEN = 5_000;

describeWithNats('the latest entries of a host among those of many', () => {
  let server: NatsServer;
  let connection: NatsConnection;
  let journal: Journal<HostRecord>;
  let pages: JournalPages;
  const mine: number[] = [];
  /** Where followers began, and what they were handed. */
  const reads: { fromSequence: number; records: number }[] = [];

  beforeAll(async () => {
    server = await startNatsServer();
    connection = await connect({ servers: server.url });
    journal = await Journal.open<HostRecord>(connection, { stream: 'HOSTS', subjects: [hostHistory('*')] });
    for (let from = 1; from <= WRITTEN; from += 500) {
      await Promise.all(
        Array.from({ length: 500 }, (_, i) => {
          const of = (from + i) % 100 === 0 || from + i === 1 ? MINE : OTHER;
          const record = { at: 0, commandId: `c${from + i}` } as HostRecord;
          return journal
            .append(hostHistory(of), record, { commandId: `c${from + i}`, expectedSequence: 'any' })
            .then(({ sequence }) => void (of === MINE && mine.push(sequence)));
        }),
      );
    }
    mine.sort((one, other) => one - other);
    const follow = (options: FollowOptions<HostRecord>) => {
      const read = { fromSequence: options.fromSequence ?? 1, records: 0 };
      reads.push(read);
      const onRecord: typeof options.onRecord = (entry) => {
        read.records++;
        options.onRecord(entry);
      };
      return journal.follow({ ...options, onRecord });
    };
    const watched = { follow, lastSequenceOf: (subject: string) => journal.lastSequenceOf(subject) };
    const unused = {} as Journal<never>;
    pages = new JournalPages(unused, watched as unknown as Journal<HostRecord>, unused);
  });
  afterAll(async () => {
    await connection?.close();
    await server?.stop();
  });
  beforeEach(() => void reads.splice(0));

  const latest = async (limit: number, before = Infinity) => {
    const found = await pages.latestOfHost(MINE, { before, limit });
    return found && { sequences: found.entries.map(({ sequence }) => sequence), more: found.more };
  };

  it('are read from the end, and not from the beginning', async () => {
    expect(mine).toHaveLength(51);
    expect(await latest(10)).toEqual({ sequences: mine.slice(-10), more: true });
    expect(reads).toHaveLength(1);
    expect(reads[0]!.fromSequence).toBeGreaterThan(1);
    expect(reads[0]!.records).toBeLessThan(mine.length);
  });

  it('reach further back until there are enough', async () => {
    expect(await latest(45)).toEqual({ sequences: mine.slice(-45), more: true });
    expect(reads.map(({ fromSequence }) => fromSequence)).toEqual([expect.any(Number), 1]);
    expect(await latest(51)).toEqual({ sequences: mine, more: false });
    expect(await latest(1_000)).toEqual({ sequences: mine, more: false });
  });

  it('come page by page, each entry once', async () => {
    const all: number[] = [];
    for (let before = Infinity; ;) {
      const page = (await latest(7, before))!;
      all.unshift(...page.sequences);
      if (!page.more) break;
      before = page.sequences[0]!;
    }
    expect(all).toEqual(mine);
  });

  it('end where they are asked for, however much follows', async () => {
    const before = mine[3]!;
    expect(await latest(2, before)).toEqual({ sequences: mine.slice(1, 3), more: true });
    expect(reads.reduce((sum, { records }) => sum + records, 0)).toBeLessThanOrEqual(4);
    expect(await latest(2, mine[0])).toEqual({ sequences: [], more: false });
  });

  it('are none of a host that never was', async () => {
    expect(await pages.latestOfHost('nobody', { before: Infinity, limit: 5 })).toBeUndefined();
    expect(reads).toEqual([]);
  });
});
