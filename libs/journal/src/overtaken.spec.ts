import type { NatsConnection } from 'nats';
import { connectNats } from '#bus';
import { freePort } from '#ports';
import { describeWithNats, startNatsServer, type NatsServer } from '../../../test/support/nats-server';
import { Journal } from './journal';
import { SequenceConflictError } from './journal-errors';
import { Overtaken } from './overtaken';

jest.setTimeout(60_000);

describe('records that were overtaken', () => {
  it('are those of which the writer did not know the last that counts', () => {
    const overtaken = new Overtaken();
    expect(overtaken.isOvertaken('a', 913, 908)).toBe(false);
    expect(overtaken.isOvertaken('a', 914, 913)).toBe(false);
    expect(overtaken.isOvertaken('a', 915, 913)).toBe(true);
    expect(overtaken.isOvertaken('b', 916, 0)).toBe(false);
    // It takes up a sequence, so whoever comes next expects it, and counts.
    expect(overtaken.isOvertaken('a', 917, 915)).toBe(false);
    // What is no record moved the sequence.
    expect(overtaken.isOvertaken('a', 930, 925)).toBe(false);
    expect(overtaken.isOvertaken('a', 931, undefined)).toBe(false);
  });

  it('are told from what lies near them alone, whoever reads and from where', () => {
    const overtaken = new Overtaken();
    overtaken.counts('a', 1);
    expect(overtaken.isOvertaken('a', 16_386, 0)).toBe(false);
    overtaken.counts('b', 20_000);
    expect(overtaken.isOvertaken('b', 36_384, 19_999)).toBe(true);
  });
});

describeWithNats('two writers in a cluster', () => {
  const servers: NatsServer[] = [];
  const connections: NatsConnection[] = [];

  beforeAll(async () => {
    const ports = await Promise.all([1, 2, 3].map(() => freePort('127.0.0.1')));
    const routes = ports.map((port) => `nats-route://127.0.0.1:${port}`).join(', ');
    for (const [i, port] of ports.entries()) {
      const config = `server_name: n${i}\ncluster { name: test, listen: 127.0.0.1:${port}, routes: [${routes}] }`;
      servers.push(await startNatsServer({ config }));
    }
  });
  afterAll(async () => {
    for (const nats of connections) await nats.close();
    for (const server of servers) await server.stop();
  });

  async function journal(server: number): Promise<Journal<number>> {
    const nats = await connectNats({ servers: servers[server]!.url, name: `writer ${server}`, replicas: 3 });
    connections.push(nats);
    return Journal.open<number>(nats, { stream: 'RACE', subjects: ['race.*'], deadlineMs: 30_000 });
  }

  it('never both write what counts, and all readers agree on what does', async () => {
    const writers = [await journal(0), await journal(1), await journal(2)];
    const followed = new Map<string, number[]>();
    const follower = writers[0]!.follow({
      onRecord: ({ subject, record }) => followed.set(subject, [...(followed.get(subject) ?? []), record]),
    });
    const won = new Map<string, number[]>();
    for (let round = 0; round < 60; round++) {
      const subject = `race.${round % 4}`;
      const expectedSequence = await writers[0]!.lastSequenceOf(subject);
      const outcomes = await Promise.allSettled(
        writers.map((writer, n) =>
          writer.append(subject, round * 10 + n, { commandId: `${round}-${n}`, expectedSequence }),
        ),
      );
      for (const one of outcomes) {
        if (one.status === 'rejected') expect(one.reason).toBeInstanceOf(SequenceConflictError);
      }
      const winners = outcomes.flatMap(({ status }, n) => (status === 'fulfilled' ? [round * 10 + n] : []));
      expect(winners).toHaveLength(1);
      won.set(subject, [...(won.get(subject) ?? []), ...winners]);
    }
    await follower.waitFor(await writers[0]!.lastSequence(), 60_000);
    expect(followed).toEqual(won);
    const scanned = new Map<string, number[]>();
    await writers[1]!.scan({
      onRecord: ({ subject, record }) => void scanned.set(subject, [...(scanned.get(subject) ?? []), record]),
      deadlineMs: 60_000,
    });
    expect(scanned).toEqual(won);
    for (const [subject, records] of won) {
      expect((await writers[2]!.read(subject)).entries.map(({ record }) => record)).toEqual(records);
    }
    follower.close();
  });

  it('get their command recorded in the end, once, under its name', async () => {
    const writers = [await journal(0), await journal(1)];
    for (let round = 0; round < 30; round++) {
      const subject = `race.again${round}`;
      const record = async (writer: Journal<number>, n: number): Promise<void> => {
        for (let expectedSequence = 0; ;) {
          try {
            await writer.append(subject, n, { commandId: `again-${round}-${n}`, expectedSequence });
            return;
          } catch (error) {
            if (!(error instanceof SequenceConflictError)) throw error;
            expectedSequence = await writer.lastSequenceOf(subject);
          }
        }
      };
      // A first record, for the server checks the beginning of a history better than how it goes on.
      await record(writers[0]!, 0);
      await Promise.all([record(writers[0]!, 1), record(writers[1]!, 2), record(writers[1]!, 3)]);
      await record(writers[1]!, 2); // asked again: it is there
      const { entries } = await writers[0]!.read(subject);
      expect(entries.map((entry) => entry.record).sort()).toEqual([0, 1, 2, 3]);
      expect(new Set(entries.map(({ commandId }) => commandId))).toEqual(
        new Set([0, 1, 2, 3].map((n) => `again-${round}-${n}`)),
      );
    }
  });
});
