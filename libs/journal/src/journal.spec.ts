import { connect, headers, type NatsConnection } from 'nats';
import { setTraits } from './connection-traits';
import { describeWithNats, startNatsServer, type NatsServer } from '../../../test/support/nats-server';
import { Journal, type JournalOptions } from './journal';
import type { UnreadableMessage } from './journal-entry';
import {
  JournalUnavailableError,
  RecordTooLargeError,
  SequenceConflictError,
  StreamConfigError,
} from './journal-errors';

interface Note {
  text: string;
}

describeWithNats('Journal', () => {
  let server: NatsServer;
  let nc: NatsConnection;
  let streams = 0;

  beforeAll(async () => {
    server = await startNatsServer();
    nc = await open();
  });
  afterAll(async () => {
    await nc.close();
    await server.stop();
  });

  function open(): Promise<NatsConnection> {
    return connect({ servers: server.url, maxReconnectAttempts: -1, reconnectTimeWait: 50 });
  }
  /** A journal on a stream of its own, subjects `<stream>.>`. */
  async function journal(options: Partial<JournalOptions<Note>> = {}) {
    const stream = `T${++streams}`;
    const it = await Journal.open<Note>(nc, { stream, subjects: [`${stream}.>`], ...options });
    return { journal: it, stream, a: `${stream}.a`, b: `${stream}.b` };
  }

  describe('append', () => {
    it('puts records on record, with sequence, time and command', async () => {
      const { journal: it, a, b } = await journal();
      const before = Date.now();
      const first = await it.append(a, { text: '1' }, { commandId: 'c1', expectedSequence: 0 });
      await it.append(b, { text: 'x' }, { commandId: 'c1', expectedSequence: 0 });
      const second = await it.append(a, { text: '2' }, { commandId: 'c2', expectedSequence: first.sequence });
      expect([first, second]).toEqual([
        { sequence: 1, duplicate: false },
        { sequence: 3, duplicate: false },
      ]);
      const { entries, lastSequence } = await it.read(a);
      expect(entries.map(({ record, sequence, commandId }) => [record.text, sequence, commandId])).toEqual([
        ['1', 1, 'c1'],
        ['2', 3, 'c2'],
      ]);
      expect(lastSequence).toBe(3);
      for (const { timeMs } of entries) {
        expect(timeMs).toBeGreaterThanOrEqual(before);
        expect(timeMs).toBeLessThanOrEqual(Date.now() + 1);
      }
      expect(await it.lastOf(a)).toEqual(entries[1]);
      expect(await it.lastSequence()).toBe(3);
    });

    it('refuses the second of two who expect the same, and says where history is', async () => {
      const { journal: it, a } = await journal();
      const { sequence } = await it.append(a, { text: '1' }, { commandId: 'c1', expectedSequence: 0 });
      const error = await it
        .append(a, { text: '2' }, { commandId: 'c2', expectedSequence: 0 })
        .catch((e: unknown) => e);
      expect(error).toBeInstanceOf(SequenceConflictError);
      expect(error).toMatchObject({ subject: a, expectedSequence: 0, actualSequence: sequence });
      expect((await it.read(a)).entries).toHaveLength(1);
    });

    it('lets exactly one of many concurrent writers win', async () => {
      const { journal: it, a } = await journal();
      const results = await Promise.allSettled(
        Array.from({ length: 50 }, (_, i) =>
          it.append(a, { text: `${i}` }, { commandId: `c${i}`, expectedSequence: 0 }),
        ),
      );
      expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
      for (const result of results) {
        if (result.status === 'rejected') expect(result.reason).toBeInstanceOf(SequenceConflictError);
      }
      expect((await it.read(a)).entries).toHaveLength(1);
    });

    it('writes a command once, however often and with whatever stale expectation it is repeated', async () => {
      const { journal: it, a } = await journal();
      const first = await it.append(a, { text: '1' }, { commandId: 'c1', expectedSequence: 0 });
      await it.append(a, { text: '2' }, { commandId: 'c2', expectedSequence: first.sequence });
      for (const expectedSequence of [0, first.sequence, 999, 'any'] as const) {
        expect(await it.append(a, { text: '1' }, { commandId: 'c1', expectedSequence })).toEqual({
          sequence: first.sequence,
          duplicate: true,
        });
      }
      expect((await it.read(a)).entries).toHaveLength(2);
    });

    it('keeps the same command id on two subjects apart', async () => {
      const { journal: it, a, b } = await journal();
      const one = await it.append(a, { text: '1' }, { commandId: 'same', expectedSequence: 0 });
      const two = await it.append(b, { text: '2' }, { commandId: 'same', expectedSequence: 0 });
      expect([one.duplicate, two.duplicate]).toEqual([false, false]);
      expect((await it.read(b)).entries).toHaveLength(1);
    });

    it('survives a lost acknowledgement', async () => {
      const { journal: it, a } = await journal();
      // The acknowledgement of the first attempt is thrown away on its way, as a broken connection would do.
      const request = nc.request.bind(nc);
      let lost = 0;
      const spy = jest.spyOn(nc, 'request').mockImplementation(async (subject, payload, options) => {
        const reply = await request(subject, payload, options);
        if (subject === a && lost++ < 2) throw new Error('lost on its way');
        return reply;
      });
      try {
        const { sequence, duplicate } = await it.append(a, { text: '1' }, { commandId: 'c1', expectedSequence: 0 });
        expect([sequence, duplicate, lost]).toEqual([1, true, 3]);
      } finally {
        spy.mockRestore();
      }
      expect((await it.read(a)).entries).toHaveLength(1);
    });

    it('refuses a record that is too large', async () => {
      const { journal: it, a } = await journal({ maxRecordBytes: 1_000 });
      const large = it.append(a, { text: 'x'.repeat(1_000) }, { commandId: 'c1', expectedSequence: 0 });
      await expect(large).rejects.toBeInstanceOf(RecordTooLargeError);
      const beyondServer = (await journal()).journal.append(
        a,
        { text: 'x'.repeat(2_000_000) },
        { commandId: 'c1', expectedSequence: 0 },
      );
      await expect(beyondServer).rejects.toBeInstanceOf(RecordTooLargeError);
    });

    it('fails, and throws nothing old away, when the stream is full', async () => {
      const { journal: it, a } = await journal({ maxBytes: 2_000 });
      let sequence = 0;
      const fill = async () => {
        for (let i = 0; ; i++) {
          const options = { commandId: `c${i}`, expectedSequence: sequence };
          ({ sequence } = await it.append(a, { text: 'x'.repeat(200) }, options));
        }
      };
      const error = (await fill().catch((e: unknown) => e)) as JournalUnavailableError;
      expect(error).toBeInstanceOf(JournalUnavailableError);
      expect(error.outcome).toBe('notWritten');
      expect((await it.read(a)).entries.map((entry) => entry.sequence)).toEqual(
        Array.from({ length: sequence }, (_, i) => i + 1),
      );
    });

    it('gives up at the deadline, and knows whether anything was sent', async () => {
      const other = await startNatsServer();
      const connection = await connect({ servers: other.url, maxReconnectAttempts: -1, reconnectTimeWait: 50 });
      try {
        const it = await Journal.open<Note>(connection, { stream: 'T', subjects: ['t.>'] });
        const gone = new Promise<void>((resolve) => {
          void (async () => {
            for await (const status of connection.status()) if (status.type === 'disconnect') return resolve();
          })();
        });
        await other.kill9();
        await gone;
        const options = { commandId: 'c1', expectedSequence: 0, deadlineMs: 100 };
        const error = (await it
          .append('t.a', { text: '1' }, options)
          .catch((e: unknown) => e)) as JournalUnavailableError;
        expect(error).toBeInstanceOf(JournalUnavailableError);
        expect(error.outcome).toBe('notWritten');
        const later = it.append('t.a', { text: '1' }, { ...options, deadlineMs: 10_000 });
        await other.restart();
        expect(await later).toEqual({ sequence: 1, duplicate: false });
        await connection.close();
        await expect(it.append('t.a', { text: '2' }, options)).rejects.toBeInstanceOf(JournalUnavailableError);
      } finally {
        await connection.close();
        await other.stop();
      }
    });
  });

  describe('read', () => {
    it('knows nothing of a subject without records', async () => {
      const { journal: it, a } = await journal();
      expect(await it.read(a)).toEqual({ entries: [], lastSequence: 0 });
      expect(await it.lastOf(a)).toBeUndefined();
      expect(await it.lastSequenceOf(a)).toBe(0);
    });

    it('reads a long history, whole and in order, among many others', async () => {
      const { journal: it, stream } = await journal();
      await Promise.all(
        Array.from({ length: 20 }, async (_, subject) => {
          let expectedSequence = 0;
          for (let i = 0; i < 100; i++) {
            const appended = await it.append(
              `${stream}.s${subject}`,
              { text: `${i}` },
              { commandId: `c${i}`, expectedSequence },
            );
            expectedSequence = appended.sequence;
          }
        }),
      );
      const histories = await Promise.all(Array.from({ length: 20 }, (_, subject) => it.read(`${stream}.s${subject}`)));
      for (const { entries } of histories)
        expect(entries.map(({ record }) => record.text)).toEqual(Array.from({ length: 100 }, (_, i) => `${i}`));
    });

    it('leaves no consumers behind', async () => {
      const { journal: it, stream, a } = await journal();
      await it.append(a, { text: '1' }, { commandId: 'c1', expectedSequence: 0 });
      await Promise.all(Array.from({ length: 10 }, () => it.read(a)));
      const names = async () =>
        (await nc.request(`$JS.API.CONSUMER.NAMES.${stream}`, '', { timeout: 20_000 })).json<{ total: number }>().total;
      while ((await names()) > 0);
      expect(await names()).toBe(0);
    });
  });

  describe('scan', () => {
    async function filled(count: number) {
      const it = await journal();
      for (let i = 0; i < count; i += 100) {
        await Promise.all(
          Array.from({ length: 100 }, (_, n) =>
            it.journal.append(n % 2 ? it.a : it.b, { text: 'x' }, { commandId: `${i + n}`, expectedSequence: 'any' }),
          ),
        );
      }
      return it.journal;
    }
    const upTo = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

    it('reads everything in order, from where it is told, over many batches', async () => {
      const it = await filled(1_100);
      const seen: number[] = [];
      const onRecord = ({ sequence }: { sequence: number }): void => void seen.push(sequence);
      expect(await it.scan({ onRecord, deadlineMs: 10_000 })).toBe(1_100);
      expect(seen).toEqual(upTo(1, 1_100));
      seen.length = 0;
      expect(await it.scan({ fromSequence: 1_099, onRecord, deadlineMs: 10_000 })).toBe(1_100);
      expect(seen).toEqual([1_099, 1_100]);
      expect(await it.scan({ fromSequence: 1_101, onRecord, deadlineMs: 10_000 })).toBe(1_100);
      expect(await (await journal()).journal.scan({ onRecord, deadlineMs: 10_000 })).toBe(0);
      expect(seen).toHaveLength(2);
    });

    it('ends when enough was seen, when it is told to, and when its reader fails', async () => {
      const it = await filled(600);
      let seen = 0;
      expect(await it.scan({ onRecord: () => (++seen === 300 ? 'enough' : undefined), deadlineMs: 10_000 })).toBe(299);
      const gone = new AbortController();
      const reading = it.scan({
        onRecord: () => gone.abort(new Error('gone')),
        deadlineMs: 10_000,
        signal: gone.signal,
      });
      await expect(reading).rejects.toThrow('gone');
      const fails = (): never => {
        throw new RangeError('no');
      };
      await expect(it.scan({ onRecord: fails, deadlineMs: 10_000 })).rejects.toThrow(RangeError);
    });

    it('goes on where it was when the server is killed under it', async () => {
      const own = await startNatsServer();
      const connection = await connect({ servers: own.url, maxReconnectAttempts: -1, reconnectTimeWait: 50 });
      const it = await Journal.open<Note>(connection, { stream: 'SCAN', subjects: ['scan.>'] });
      for (let i = 0; i < 10; i++) {
        await Promise.all(
          Array.from({ length: 100 }, (_, n) =>
            it.append(`scan.${n}`, { text: 'x' }, { commandId: `${i}.${n}`, expectedSequence: 'any' }),
          ),
        );
      }
      const seen: number[] = [];
      let restarted: Promise<void> | undefined;
      const onRecord = ({ sequence }: { sequence: number }): void => {
        seen.push(sequence);
        if (sequence === 400) restarted = own.restart();
      };
      expect(await it.scan({ onRecord, deadlineMs: 20_000 })).toBe(1_000);
      await restarted;
      expect(seen).toEqual(upTo(1, 1_000));
      await connection.close();
      await own.stop();
    });
  });

  describe('compact and trim', () => {
    it('keeps the last record of a subject and the sequence that its next append has to expect', async () => {
      const { journal: it, a, b } = await journal({ immutable: false });
      for (const [i, subject] of [a, b, a, a, b].entries()) {
        await it.append(subject, { text: String(i) }, { commandId: `c${i}`, expectedSequence: 'any' });
      }
      expect(await it.compact(a)).toBe(2);
      expect((await it.read(a)).entries.map(({ record, sequence }) => [record.text, sequence])).toEqual([['3', 4]]);
      expect((await it.read(b)).entries.map(({ sequence }) => sequence)).toEqual([2, 5]);
      expect([await it.compact(a), await it.compact(`${a}.none`)]).toEqual([0, 0]);
      const unborn = it.append(a, { text: 'x' }, { commandId: 'x', expectedSequence: 0 });
      await expect(unborn).rejects.toMatchObject({ name: 'SequenceConflictError', actualSequence: 4 });
      await it.append(a, { text: 'y' }, { commandId: 'y', expectedSequence: 4 });
    });

    it('removes what was stored before an instant, and nothing else', async () => {
      const { journal: it, a, b } = await journal({ immutable: false });
      const append = (i: number) =>
        it.append(i % 2 ? a : b, { text: `${i}` }, { commandId: `${i}`, expectedSequence: 'any' });
      expect(await it.trim(Date.now())).toBe(0);
      for (let i = 0; i < 4; i++) await append(i);
      const { timeMs } = (await it.lastOf(a))!;
      expect(await it.firstTimeMs()).toBeLessThan(timeMs);
      expect(await it.trim(timeMs - 3_600_000)).toBe(0);
      // To the ms: the server is told an instant at or before the third record's.
      await new Promise((resolve) => setTimeout(resolve, 2));
      const between = Date.now();
      await append(4);
      expect(await it.trim(between)).toBe(4);
      expect((await it.read(b)).entries.map(({ record }) => record.text)).toEqual(['4']);
      expect(await it.trim(Date.now() + 60_000)).toBe(1);
      expect([await it.lastSequence(), await it.firstTimeMs()]).toEqual([5, undefined]);
    });
  });

  describe('with messages that are no records', () => {
    const decode = (json: unknown): Note => {
      if (typeof (json as Note).text !== 'string') throw new TypeError('not a note');
      return json as Note;
    };
    async function poison(subject: string): Promise<void> {
      for (const body of ['garbage', '{"text":1}', '', 'null']) await nc.request(subject, body, { timeout: 20_000 });
      // Not even one that looks like the server's own control messages.
      const disguise = headers(100, 'Idle Heartbeat');
      await nc.request(subject, '', { headers: disguise, timeout: 20_000 });
    }

    it('fails by default, naming the message', async () => {
      const { journal: it, a } = await journal({ decode });
      await poison(a);
      await expect(it.read(a)).rejects.toMatchObject({ name: 'UnreadableRecordError', subject: a, sequence: 1 });
      await expect(it.lastOf(a)).rejects.toMatchObject({ name: 'UnreadableRecordError', sequence: 5 });
      const failure = await new Promise<Error>((onFailure) => it.follow({ onRecord: () => undefined, onFailure }));
      expect(failure).toMatchObject({ name: 'UnreadableRecordError', sequence: 1 });
    });

    it('skips them when asked to, and the subject stays usable', async () => {
      const skipped: UnreadableMessage[] = [];
      const { journal: it, a } = await journal({ decode, onUnreadable: (message) => skipped.push(message) });
      await poison(a);
      const { entries, lastSequence } = await it.read(a);
      expect([entries, lastSequence]).toEqual([[], 5]);
      expect(skipped.map(({ sequence }) => sequence)).toEqual([1, 2, 3, 4, 5]);
      await it.append(a, { text: 'fine' }, { commandId: 'c1', expectedSequence: lastSequence });
      const seen: string[] = [];
      const follower = it.follow({ onRecord: ({ record }) => seen.push(record.text) });
      await follower.caughtUp;
      expect([seen, follower.position]).toEqual([['fine'], 6]);
      follower.close();
    });
  });

  describe('open', () => {
    it('opens an existing stream, and brings changeable settings to what is asked', async () => {
      const { journal: it, stream, a } = await journal();
      await it.append(a, { text: '1' }, { commandId: 'c1', expectedSequence: 0 });
      const again = await Journal.open<Note>(nc, { stream, subjects: [`${stream}.>`], duplicateWindowMs: 60_000 });
      expect((await again.read(a)).entries).toHaveLength(1);
    });

    it('opens once, however many open it at the same time', async () => {
      const options = { stream: 'ATONCE', subjects: ['atonce.>'] };
      const connections = await Promise.all(Array.from({ length: 5 }, () => open()));
      await Promise.all(connections.map((connection) => Journal.open(connection, options)));
      await Promise.all(connections.map((connection) => connection.close()));
    });

    it('refuses to start when the server ignores a setting, and names it', async () => {
      await expect(journal({ extra: { allow_msg_ttl: true } })).rejects.toMatchObject({
        name: 'StreamConfigError',
        message: expect.stringMatching(/2\.9\.\d+ does not honour allow_msg_ttl=true \(is undefined\)/) as string,
      });
    });

    it('refuses to start when the server refuses a setting', async () => {
      const threefold = await open();
      setTraits(threefold, { replicas: 3 });
      await expect(Journal.open(threefold, { stream: 'THREE', subjects: ['three.>'] })).rejects.toBeInstanceOf(
        StreamConfigError,
      );
      await threefold.close();
      const { stream } = await journal();
      await expect(journal({ subjects: [`${stream}.>`] })).rejects.toBeInstanceOf(StreamConfigError);
    });

    it('makes a stream from which nothing can be deleted or purged', async () => {
      const { journal: it, stream, a } = await journal();
      await it.append(a, { text: '1' }, { commandId: 'c1', expectedSequence: 0 });
      const refused = { error: { code: 500 } };
      expect((await nc.request(`$JS.API.STREAM.PURGE.${stream}`, '', { timeout: 20_000 })).json()).toMatchObject(
        refused,
      );
      expect(
        (await nc.request(`$JS.API.STREAM.MSG.DELETE.${stream}`, '{"seq":1}', { timeout: 20_000 })).json(),
      ).toMatchObject(refused);
      expect((await it.read(a)).entries).toHaveLength(1);
    });

    it('gives up when JetStream is not there', async () => {
      const plain = await startNatsServer({ jetstream: false });
      const connection = await connect({ servers: plain.url });
      await expect(
        Journal.open(connection, { stream: 'T', subjects: ['t.>'], deadlineMs: 300 }),
      ).rejects.toBeInstanceOf(JournalUnavailableError);
      await connection.close();
      await plain.stop();
    });
  });
});
