import { connect, type NatsConnection } from 'nats';
import { Journal } from '#journal';
import { describeWithNats, startNatsServer, type NatsServer } from '../../../../test/support/nats-server';
import { HistoryStore } from './history-store';

interface Sum {
  readonly id: string;
  readonly revision: number;
  readonly sum: number;
}
interface Added {
  commandId: string;
  id: string;
  add: number;
}

describeWithNats('HistoryStore', () => {
  let server: NatsServer;
  let nc: NatsConnection;
  const stores: HistoryStore<Sum, Added>[] = [];

  beforeAll(async () => {
    server = await startNatsServer();
    nc = await connect({ servers: server.url });
  });
  afterAll(async () => {
    for (const store of stores) store.close();
    await nc?.close();
    await server?.stop();
  });

  async function open() {
    const lives = new Map<string, Sum>();
    const changes: Sum[] = [];
    const fold = jest.fn((life: Sum | null, { id, add }: Added, revision: number): Sum => {
      return { id, revision, sum: (life?.sum ?? 0) + add };
    });
    const journal = await Journal.open<Added>(nc, { stream: 'S', subjects: ['s.>'], immutable: false });
    const store = new HistoryStore<Sum, Added>({
      journal,
      subjectOf: (id) => `s.${id}`,
      idOf: ({ id }) => id,
      fold,
      named: ({ sum }, id, revision) => ({ id, revision, sum }),
      lives: { get: (id) => lives.get(id), set: (life) => void lives.set(life.id, life) },
      onChange: (life) => changes.push(life),
      onDamaged: (_, error) => {
        throw error;
      },
    });
    stores.push(store);
    await store.open((error) => {
      throw error;
    });
    const add = (id: string, amount: number, commandId: string) =>
      store.decide(id, (life) => ({
        kind: 'record' as const,
        record: { commandId, id, add: amount },
        advance: { life: { sum: (life?.sum ?? 0) + amount } },
      }));
    return { store, lives, changes, fold, add };
  }

  it('does not fold again what it has decided itself, whichever comes first, the record or its acknowledgement', async () => {
    const [one, other] = await Promise.all([open(), open()]);
    const outcomes = await Promise.all(
      Array.from({ length: 200 }, async (_, i) => {
        await one.add(`a${i}`, 1, `${i}.1`);
        return one.add(`a${i}`, i, `${i}.2`);
      }),
    );
    expect(outcomes.map(({ appended, life }) => [appended, life!.sum])).toEqual(outcomes.map((_, i) => [true, 1 + i]));
    const last = Math.max(...outcomes.map(({ life }) => life!.revision));
    await Promise.all([one, other].map(({ store }) => until(() => store.position >= last)));
    expect(one.fold).not.toHaveBeenCalled();
    expect(one.changes).toHaveLength(400);
    expect(other.lives).toEqual(one.lives);
  });

  it('takes the record of another writer as it is, also where both recorded the same command', async () => {
    const [one, other] = await Promise.all([open(), open()]);
    const outcomes = await Promise.all([one.add('b', 1, 'same'), other.add('b', 2, 'same')]);
    expect(outcomes.filter(({ appended }) => appended)).toHaveLength(1);
    const [winner, loser] = outcomes[0].appended ? [outcomes[0], outcomes[1]] : [outcomes[1], outcomes[0]];
    expect(loser.life).toEqual(winner.life);
    expect(one.lives.get('b')).toEqual(other.lives.get('b'));
  });
});

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(setImmediate);
}
