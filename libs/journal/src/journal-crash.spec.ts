import { connect, type NatsConnection } from 'nats';
import { describeWithNats, startNatsServer, type NatsServer } from '../../../test/support/nats-server';
import type { Follower } from './follower';
import { Journal } from './journal';
import { SequenceConflictError } from './journal-errors';

interface Step {
  writer: string;
  step: number;
}

const SUBJECTS = 40;
const STEPS = 150;
const KILLS = 5;

/**
 * Two writers compete for every subject while the server is killed again and again. Each writer appends its steps in order,
 * reloading when the other one was first. Afterwards the stream itself, read message by message, is the judge.
 */
describeWithNats('Journal under SIGKILL of the server', () => {
  let server: NatsServer;
  const connections: NatsConnection[] = [];

  beforeAll(async () => {
    server = await startNatsServer();
  });
  afterAll(async () => {
    for (const nc of connections) await nc.close();
    await server.stop();
  });

  async function openJournal(): Promise<Journal<Step>> {
    const nc = await connect({
      servers: server.url,
      maxReconnectAttempts: -1,
      reconnectTimeWait: 50,
      noAsyncTraces: true,
    });
    connections.push(nc);
    return Journal.open<Step>(nc, { stream: 'CRASH', subjects: ['crash.>'], deadlineMs: 60_000 });
  }

  it('loses nothing acknowledged, doubles nothing, and shows followers exactly what is on record', async () => {
    const [left, right, watcher] = [await openJournal(), await openJournal(), await openJournal()];
    const acknowledged = new Map<number, string>();
    let conflicts = 0;
    let duplicates = 0;
    let total = 0;
    let nextKill = 0;
    let kill: () => void = () => undefined;

    const write = async (journal: Journal<Step>, writer: string, subject: string): Promise<void> => {
      let expectedSequence = 0;
      for (let step = 0; step < STEPS;) {
        const commandId = `${writer}-${step}`;
        try {
          const { sequence, duplicate } = await journal.append(
            subject,
            { writer, step },
            { commandId, expectedSequence },
          );
          const key = `${subject} ${commandId}`;
          expect(acknowledged.get(sequence) ?? key).toBe(key); // one place, one record
          acknowledged.set(sequence, key);
          if (duplicate) duplicates++;
          expectedSequence = sequence;
          step++;
          if (++total >= nextKill) kill();
        } catch (error) {
          if (!(error instanceof SequenceConflictError)) throw error;
          conflicts++;
          expectedSequence = await journal.lastSequenceOf(subject);
        }
      }
    };

    const seen: { sequence: number; key: string }[][] = [];
    const followers: Follower[] = [];
    const follow = (filter?: string): void => {
      const entries: (typeof seen)[number] = [];
      seen.push(entries);
      followers.push(
        watcher.follow({
          ...(filter === undefined ? {} : { filter }),
          onRecord: ({ sequence, subject, commandId }) =>
            void entries.push({ sequence, key: `${subject} ${commandId}` }),
        }),
      );
    };
    follow();
    follow('crash.7');

    const all = 2 * SUBJECTS * STEPS;
    const killing = (async () => {
      for (let i = 1; i <= KILLS; i++) {
        nextKill = Math.floor((all * i) / (KILLS + 1));
        await new Promise<void>((resolve) => (kill = resolve));
        await server.kill9();
        await server.restart();
        follow(); // one that has to catch up in the middle of it
      }
    })();
    const writers = Array.from({ length: SUBJECTS }, (_, i) => [
      write(left, 'left', `crash.${i}`),
      write(right, 'right', `crash.${i}`),
    ]).flat();
    await Promise.all([...writers, killing]);

    const last = await watcher.lastSequence();
    await Promise.all(followers.filter((_, i) => i !== 1).map((follower) => follower.waitFor(last, 60_000)));
    await followers[1]!.waitFor(await watcher.lastSequenceOf('crash.7'), 60_000);

    // The judge: every message of the stream by its number, past all code under test.
    const record: { sequence: number; key: string }[] = [];
    const judge = connections[2]!;
    for (let sequence = 1; sequence <= last; sequence++) {
      const reply = await judge.request('$JS.API.STREAM.MSG.GET.CRASH', JSON.stringify({ seq: sequence }), {
        timeout: 20_000,
      });
      const { message } = reply.json<{ message: { subject: string; hdrs: string } }>();
      const id = /Nats-Msg-Id: (\S+)/.exec(Buffer.from(message.hdrs, 'base64').toString())![1]!;
      record.push({ sequence, key: `${message.subject} ${id.slice(message.subject.length + 1)}` });
    }
    expect(new Set(record.map(({ key }) => key)).size).toBe(record.length); // nothing doubled
    expect(record.length).toBe(all); // and nothing besides
    for (const { sequence, key } of record) expect(acknowledged.get(sequence)).toBe(key); // nothing lost
    expect(acknowledged.size).toBe(all);
    for (const [i, entries] of seen.entries()) {
      expect(entries).toEqual(i === 1 ? record.filter(({ key }) => key.startsWith('crash.7 ')) : record);
    }
    expect(conflicts).toBeGreaterThan(0);
    process.stderr.write(
      `journal under SIGKILL: ${all} records, ${KILLS} kills, ${conflicts} conflicts, ${duplicates} lost acknowledgements absorbed\n`,
    );
  }, 120_000);
});
