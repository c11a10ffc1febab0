import { connect, type NatsConnection } from 'nats';
import { microvmHistory, type Microvm, type MicrovmRecord } from '#protocol';
import type { Journal } from '#journal';
import { describeWithNats, startNatsServer, type NatsServer } from '../../../../test/support/nats-server';
import { openMicrovmJournal, openStoredMicrovms } from '../journals';
import { openFleetView } from '../open-fleet-view';
import type { StoredMicrovmRecord } from '../past/stored-record';
import { grownHistories } from '../testing/grown-histories';
import { writeHistories } from '../testing/write-histories';
import { compactExpired, type CompactOptions } from './compact-expired';

const START = Date.now() - 7_200_000;
/** Half of the story is older than this. */
const CUTOFF = START + 300_000;

describeWithNats('compactExpired', () => {
  let server: NatsServer;
  let nc: NatsConnection;
  let stored: Journal<StoredMicrovmRecord>;
  let journal: Journal<MicrovmRecord>;
  const records = grownHistories({ seed: 11, microvms: 20, records: 600, startMs: START, stepMs: 1_000 });
  const endedBy = (at: number): string[] =>
    records.filter((record) => record.to === 'deleted' && record.at < at).map(({ microvmId }) => microvmId);
  const expired = endedBy(CUTOFF);

  beforeEach(async () => {
    server = await startNatsServer();
    nc = await connect({ servers: server.url, maxReconnectAttempts: -1, reconnectTimeWait: 50 });
    const none = (): void => undefined;
    [journal, stored] = [await openMicrovmJournal(nc, none), await openStoredMicrovms(nc, none)];
    await writeHistories(journal, records);
  });
  afterEach(async () => {
    await nc.close();
    await server.stop();
  });

  const compact = (change: Partial<CompactOptions> = {}): Promise<number> =>
    compactExpired({
      journal: stored,
      endedBefore: CUTOFF,
      mayGoOn: () => true,
      pause: () => Promise.resolve(),
      ...change,
    });

  async function livingNow(): Promise<Microvm[]> {
    const view = await openFleetView(nc, {
      onFailure: (error) => {
        throw error;
      },
      onSkipped: (_subject, _sequence, error) => {
        throw error;
      },
    });
    const { items } = view.list({ limit: 1_000 });
    view.close();
    return items;
  }

  async function expectCompacted(): Promise<void> {
    for (const id of new Set(records.map(({ microvmId }) => microvmId))) {
      const { entries } = await journal.read(microvmHistory(id));
      const own = records.filter(({ microvmId }) => microvmId === id);
      expect(entries.map(({ record }) => record.commandId)).toEqual(
        (expired.includes(id) ? own.slice(-1) : own).map(({ commandId }) => commandId),
      );
    }
  }

  it('leaves of the old deleted their end, and of all others everything: the fleet is the same', async () => {
    expect(expired.length).toBeGreaterThan(10);
    const before = await livingNow();
    expect(await compact()).toBe(expired.length);
    await expectCompacted();
    expect(await livingNow()).toEqual(before);
    expect(await compact()).toBe(0);
  });

  it('finds them in batches, too', async () => {
    expect(await compact({ batch: 3 })).toBe(expired.length);
    await expectCompacted();
  });

  it('goes on where it was stopped, wherever that was', async () => {
    let left = 4;
    expect(await compact({ mayGoOn: () => left-- > 0 })).toBe(4);
    const crash = new Error('a crash, between two histories');
    let steps = 0;
    const crashing = compact({ pause: () => (++steps === 3 ? Promise.reject(crash) : Promise.resolve()) });
    await expect(crashing).rejects.toBe(crash);
    expect(await compact()).toBe(expired.length - 7);
    await expectCompacted();
  });

  it('survives that the server is killed under it', async () => {
    const before = await livingNow();
    let killed: Promise<void> | undefined;
    const compacting = compact({
      pause: async () => {
        killed ??= server.restart();
        await killed;
      },
    });
    expect(await compacting).toBe(expired.length);
    await expectCompacted();
    expect(await livingNow()).toEqual(before);
  });

  it('keeps ids from being used again', async () => {
    await compact();
    const id = expired[0]!;
    const birth = records.find((record) => record.microvmId === id && record.from === null)!;
    const again = journal.append(microvmHistory(id), birth, { commandId: 'again', expectedSequence: 0 });
    await expect(again).rejects.toMatchObject({ name: 'SequenceConflictError' });
  });
});
