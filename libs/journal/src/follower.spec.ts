import { cp, rename, rm } from 'node:fs/promises';
import { connect, type Msg, type NatsConnection, type SubscriptionOptions } from 'nats';
import { describeWithNats, startNatsServer, type NatsServer } from '../../../test/support/nats-server';
import type { FollowOptions, Follower } from './follower';
import { Journal } from './journal';
import type { JournalEntry } from './journal-entry';
import { HistoryLostError, JournalUnavailableError } from './journal-errors';

interface Note {
  n: number;
}

describeWithNats('Follower', () => {
  let server: NatsServer;
  let nc: NatsConnection;
  let journal: Journal<Note>;
  const followers: Follower[] = [];

  beforeEach(async () => {
    server = await startNatsServer();
    nc = await connect({ servers: server.url, maxReconnectAttempts: -1, reconnectTimeWait: 50 });
    journal = await Journal.open<Note>(nc, { stream: 'F', subjects: ['f.>'], immutable: false });
  });
  afterEach(async () => {
    for (const follower of followers.splice(0)) follower.close();
    await nc.close();
    await server.stop();
  });

  function follow(options: Partial<FollowOptions<Note>> = {}) {
    const entries: JournalEntry<Note>[] = [];
    const restarts: string[] = [];
    const follower = journal.follow({
      onRecord: (entry) => entries.push(entry),
      onRestart: (reason) => restarts.push(reason),
      ...options,
    });
    followers.push(follower);
    return { follower, entries, restarts, sequences: () => entries.map(({ sequence }) => sequence) };
  }
  /** Appends records to one subject; all in flight together, so the order on record is the server's. */
  async function append(count: number, subject = 'f.a', from = 0): Promise<number> {
    const appended = await Promise.all(
      Array.from({ length: count }, (_, i) =>
        journal.append(subject, { n: from + i }, { commandId: `c${from + i}`, expectedSequence: 'any' }),
      ),
    );
    return Math.max(...appended.map(({ sequence }) => sequence));
  }
  const upTo = (last: number, first = 1) => Array.from({ length: last - first + 1 }, (_, i) => first + i);

  it('hands over what is there, says so, then what comes', async () => {
    await append(100);
    const caughtUpAt: number[] = [];
    const { follower, sequences } = follow({ onCaughtUp: () => caughtUpAt.push(follower.position) });
    await follower.caughtUp;
    expect(sequences()).toEqual(upTo(100));
    const last = await append(100, 'f.b');
    await follower.waitFor(last, 60_000);
    expect(sequences()).toEqual(upTo(200));
    expect(caughtUpAt).toEqual([100]);
  });

  it('has caught up at once with an empty journal', async () => {
    const { follower } = follow();
    await follower.caughtUp;
    expect(follower.position).toBe(0);
  });

  it('begins where told, also at the end', async () => {
    await append(10);
    const { follower, sequences } = follow({ fromSequence: 8 });
    const end = follow({ fromSequence: 11 });
    await Promise.all([follower.caughtUp, end.follower.caughtUp]);
    expect([sequences(), end.sequences()]).toEqual([[8, 9, 10], []]);
    await end.follower.waitFor(await append(1, 'f.b'), 60_000);
    expect(end.sequences()).toEqual([11]);
  });

  it('hands over only what the filter lets through, and knows how far it has looked', async () => {
    await append(10, 'f.a');
    await append(10, 'f.b');
    const { follower, entries } = follow({ filter: 'f.a' });
    const none = follow({ filter: 'f.c.*' });
    await Promise.all([follower.caughtUp, none.follower.caughtUp]);
    expect(new Set(entries.map(({ subject }) => subject))).toEqual(new Set(['f.a']));
    expect([entries.length, follower.position, none.follower.position]).toEqual([10, 20, 20]);
    await follower.waitFor(await append(1, 'f.a', 100), 60_000);
    expect(entries).toHaveLength(11);
  });

  it('gives every writer its own write to read', async () => {
    const { follower, entries } = follow();
    await Promise.all(
      Array.from({ length: 200 }, async (_, i) => {
        const { sequence } = await journal.append(`f.${i}`, { n: i }, { commandId: 'c', expectedSequence: 0 });
        await follower.waitFor(sequence, 60_000);
        expect(entries.some((entry) => entry.sequence === sequence && entry.record.n === i)).toBe(true);
      }),
    );
  });

  it('is told of a record of its own journal that comes before its acknowledgement, and reads any other', async () => {
    const { slow, acknowledge } = slowlyAcknowledged(nc);
    const others = journal;
    await others.append('f.b', { n: 2 }, { commandId: 'same', expectedSequence: 0 });
    journal = await Journal.open<Note>(slow, { stream: 'F', subjects: ['f.>'], immutable: false });
    const twin = journal.append('f.b', { n: 3 }, { commandId: 'same', expectedSequence: 0 });
    const own: [string, number][] = [];
    const { follower, entries } = follow({ takesOwn: (...place) => place[0] !== 'f.c' && own.push(place) > 0 });
    const appending = journal.append('f.a', { n: 1 }, { commandId: 'c', expectedSequence: 0 });
    await follower.waitFor(2, 60_000);
    const refused = journal.append('f.c', { n: 4 }, { commandId: 'c', expectedSequence: 0 });
    await follower.waitFor(3, 60_000);
    expect(own).toEqual([['f.a', 2]]);
    expect(entries.map(({ sequence, record }) => [sequence, record.n])).toEqual([
      [1, 2],
      [3, 4],
    ]);
    acknowledge();
    expect(await Promise.all([appending, refused, twin])).toEqual([
      { sequence: 2, duplicate: false },
      { sequence: 3, duplicate: false },
      { sequence: 1, duplicate: true },
    ]);
    // What was acknowledged is under way no longer: the same bytes from somebody else are read.
    await others.append('f.a', { n: 1 }, { commandId: 'another', expectedSequence: 2 });
    await follower.waitFor(4, 60_000);
    expect(entries.at(-1)).toMatchObject({ sequence: 4, record: { n: 1 } });
  });

  it('gives up waiting at the deadline, and when it is closed', async () => {
    const { follower } = follow();
    await expect(follower.waitFor(1, 20)).rejects.toBeInstanceOf(JournalUnavailableError);
    const waiting = follower.waitFor(1, 60_000);
    follower.close();
    await expect(waiting).rejects.toBeInstanceOf(JournalUnavailableError);
    await expect(follower.waitFor(1, 60_000)).rejects.toBeInstanceOf(JournalUnavailableError);
    await expect(follower.waitFor(0, 60_000)).resolves.toBeUndefined();
  });

  it('hands over nothing once it is closed, even from within onRecord', async () => {
    await append(10);
    const { follower, sequences } = follow({
      onRecord: (entry) => {
        sequences2.push(entry.sequence);
        if (entry.sequence === 3) follower.close();
      },
    });
    const sequences2: number[] = [];
    await expect(follower.caughtUp).rejects.toBeInstanceOf(JournalUnavailableError);
    await append(5, 'f.b');
    await nc.flush();
    expect([sequences(), sequences2]).toEqual([[], [1, 2, 3]]);
  });

  it('ends when onRecord throws: a projection that skipped a record is wrong', async () => {
    await append(5);
    const seen: number[] = [];
    const failure = await new Promise<Error>((onFailure) =>
      follow({
        onFailure,
        onRecord: ({ sequence }) => {
          if (sequence === 3) throw new Error('cannot fold this');
          seen.push(sequence);
        },
      }),
    );
    expect(failure.message).toBe('cannot fold this');
    await nc.flush();
    expect(seen).toEqual([1, 2]);
  });

  it.each([1, 50, 100])('asks again for a delivery that got lost (number %i)', async (lost) => {
    await append(100);
    let dropped = 0;
    const subscribe = nc.subscribe.bind(nc);
    jest.spyOn(nc, 'subscribe').mockImplementation((subject: string, options?: SubscriptionOptions) => {
      const callback = options?.callback;
      if (!callback) return subscribe(subject, options);
      let count = 0;
      const lossy = (error: Error | null, msg: Msg): void => {
        if (msg.reply?.startsWith('$JS.ACK.') && ++count === lost && dropped === 0) return void dropped++;
        void callback(error as never, msg);
      };
      return subscribe(subject, { ...options, callback: lossy as never });
    });
    const { follower, sequences, restarts } = follow();
    await follower.caughtUp;
    jest.restoreAllMocks();
    expect(sequences()).toEqual(upTo(100));
    expect([dropped, restarts.length]).toEqual([1, 1]);
  });

  it('goes on where it was when the server is killed and comes back', async () => {
    await append(10);
    const { follower, sequences, restarts } = follow();
    await follower.caughtUp;
    await server.kill9();
    await server.restart();
    const last = await append(10, 'f.b');
    await follower.waitFor(last, 60_000);
    expect(sequences()).toEqual(upTo(20));
    expect(restarts).toContain('reconnected');
  });

  it('notices that the server went silent without closing the connection', async () => {
    const { follower, sequences, restarts } = follow();
    await follower.caughtUp;
    process.kill(server.pid, 'SIGSTOP');
    while (!restarts.some((reason) => reason.startsWith('silent')))
      await new Promise((resolve) => setTimeout(resolve, 20));
    process.kill(server.pid, 'SIGCONT');
    await follower.waitFor(await append(3), 60_000);
    expect(sequences()).toEqual([1, 2, 3]);
  });

  it('survives that its consumer is deleted under it', async () => {
    const { follower, sequences } = follow();
    await follower.caughtUp;
    const { consumers } = (await nc.request('$JS.API.CONSUMER.NAMES.F', '', { timeout: 20_000 })).json<{
      consumers: string[];
    }>();
    await nc.request(`$JS.API.CONSUMER.DELETE.F.${consumers[0]}`, '', { timeout: 20_000 });
    await follower.waitFor(await append(3), 60_000);
    expect(sequences()).toEqual([1, 2, 3]);
  });

  it('ends when history went backwards: what was seen is not on record any more', async () => {
    await append(5);
    await server.kill9();
    const backup = `${server.storeDir}.backup`;
    await cp(server.storeDir, backup, { recursive: true });
    await server.restart();
    await append(5, 'f.b');
    const failed = new Promise<Error>((onFailure) => follow({ onFailure }));
    await followers[0]!.caughtUp;
    expect(followers[0]!.position).toBe(10);
    await server.kill9();
    await rm(server.storeDir, { recursive: true });
    await rename(backup, server.storeDir);
    await server.restart();
    const failure = await failed;
    expect(failure).toBeInstanceOf(HistoryLostError);
    expect(failure.message).toContain('ends at 5, but 10 was seen');
  });

  it('ends when the stream was replaced by another one, even a longer one', async () => {
    await append(5);
    const failed = new Promise<Error>((onFailure) => follow({ onFailure }));
    await followers[0]!.caughtUp;
    await server.kill9();
    await rm(server.storeDir, { recursive: true });
    // Elsewhere a new one of the same name fills up before our connection is back.
    const elsewhere = await startNatsServer({ storeDir: server.storeDir });
    const other = await connect({ servers: elsewhere.url });
    const replaced = await Journal.open<Note>(other, { stream: 'F', subjects: ['f.>'], immutable: false });
    for (let i = 0; i < 8; i++) await replaced.append('f.a', { n: i }, { commandId: `x${i}`, expectedSequence: 'any' });
    await other.close();
    await elsewhere.stop();
    await server.restart();
    const failure = await failed;
    expect(failure).toBeInstanceOf(HistoryLostError);
    expect(failure.message).toContain('was replaced');
  });

  it('ends when what it still has to see was purged', async () => {
    await append(10);
    await nc.request('$JS.API.STREAM.PURGE.F', JSON.stringify({ seq: 6 }), { timeout: 20_000 });
    const failure = await new Promise<Error>((onFailure) => follow({ onFailure, fromSequence: 4 }));
    expect(failure).toBeInstanceOf(HistoryLostError);
    const fresh = follow();
    await fresh.follower.caughtUp;
    expect(fresh.sequences()).toEqual([6, 7, 8, 9, 10]);
  });

  it('catches up also when histories are compacted while it reads them', async () => {
    const padding = 'x'.repeat(20_000);
    for (let batch = 0; batch < 20; batch++) {
      await Promise.all(
        Array.from({ length: 100 }, (_, i) =>
          journal.append('f.old', { n: i, padding } as Note, { commandId: `${batch}.${i}`, expectedSequence: 'any' }),
        ),
      );
    }
    const last = await append(1, 'f.young');
    let compacted: Promise<number> | undefined;
    let seen = 0;
    const compactAtOnce = (): void => {
      seen++;
      compacted ??= journal.compact('f.old');
    };
    const { follower } = follow({ onRecord: compactAtOnce });
    await follower.caughtUp;
    expect(await compacted).toBe(1_999);
    expect(follower.position).toBe(last);
    expect(seen).toBeLessThan(2_001); // else it was not overtaken, and nothing is proven
  });

  it('throws the failure at the process when nobody asked for it', async () => {
    await append(1);
    const thrown = new Promise<unknown>((resolve) => {
      jest.spyOn(globalThis, 'queueMicrotask').mockImplementation((callback) => {
        try {
          callback();
        } catch (error) {
          resolve(error);
        }
      });
    });
    journal.follow({
      onRecord: () => {
        throw new Error('nobody listens');
      },
    });
    expect(await thrown).toMatchObject({ message: 'nobody listens' });
    jest.restoreAllMocks();
  });

  it('stays in order and complete while it is slower than the writers', async () => {
    const { follower, sequences } = follow({ fromSequence: 1 });
    await follower.caughtUp;
    for (let round = 0; round < 10; round++) {
      void append(500, `f.${round}`, round * 500).catch(() => undefined);
      const busyUntil = performance.now() + 30;
      while (performance.now() < busyUntil);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await follower.waitFor(5_000, 60_000);
    expect(sequences()).toEqual(upTo(5_000));
  });
});

/** A connection whose records are stored at once, and acknowledged when the test says so. */
function slowlyAcknowledged(nc: NatsConnection): { slow: NatsConnection; acknowledge: () => void } {
  let acknowledge!: () => void;
  const allowed = new Promise<void>((resolve) => (acknowledge = resolve));
  const request: NatsConnection['request'] = async (subject, ...rest) => {
    const answer = await nc.request(subject, ...rest);
    if (subject.startsWith('f.')) await allowed;
    return answer;
  };
  return { slow: Object.assign(Object.create(nc) as NatsConnection, { request }), acknowledge };
}
