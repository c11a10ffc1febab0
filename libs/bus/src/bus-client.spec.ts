import pino from 'pino';
import type { NatsConnection } from 'nats';
import { z } from 'zod';
import { operation } from '#protocol';
import { describeWithNats, startNatsServer, type NatsServer } from '../../../test/support/nats-server';
import { BusClient } from './bus-client';
import { connectNats, requireServerVersion } from './nats-connection';

const ask = operation({
  subject: 'client.{hostId}.ask',
  request: z.strictObject({ a: z.int() }),
  reply: z.strictObject({ b: z.int().default(7) }),
  deadlineMs: 2_000,
  summary: 'Asks.',
});
const values = { hostId: 'h1' };

describeWithNats('BusClient', () => {
  let server: NatsServer;
  let nc: NatsConnection;
  let client: BusClient;

  beforeEach(async () => {
    server = await startNatsServer();
    nc = await connectNats({ servers: server.url, name: 'client' });
    client = new BusClient(nc, pino({ level: 'silent' }));
  });
  afterEach(async () => {
    await nc.close();
    await server.stop();
  });

  function answer(text: string | undefined): void {
    nc.subscribe('client.h1.ask', { callback: (_, msg) => void (text === undefined || msg.respond(text)) });
  }

  it('reports `unavailable` when nobody answers to the subject', async () => {
    await expect(client.call(ask, { a: 1 }, { values })).rejects.toMatchObject({
      name: 'OperationError',
      code: 'unavailable',
    });
  });

  it('reports `timeout` when the deadline passes', async () => {
    answer(undefined);
    await expect(client.call(ask, { a: 1 }, { values, deadlineMs: 50 })).rejects.toMatchObject({ code: 'timeout' });
  });

  describe('a request that may be repeated', () => {
    it('is answered although the service died with it in hand and nobody was there for a while', async () => {
      const dying = nc.subscribe('client.h1.ask', { callback: () => dying.unsubscribe() });
      const reply = client.call(ask, { a: 1 }, { values, repeatAfterMs: 50 });
      setTimeout(() => answer('{}'), 200);
      expect(await reply).toEqual({ b: 7 });
    });

    it('fails at once when nobody was there from the start, and with an open outcome when an attempt went unanswered', async () => {
      await expect(client.call(ask, { a: 1 }, { values, repeatAfterMs: 20_000 })).rejects.toMatchObject({
        code: 'unavailable',
      });
      const options = { values, repeatAfterMs: 50, deadlineMs: 300 };
      const dying = nc.subscribe('client.h1.ask', { callback: () => dying.unsubscribe() });
      await expect(client.call(ask, { a: 1 }, options)).rejects.toMatchObject({ code: 'timeout' });
    });

    it('is not repeated once it was answered, were it with an error', async () => {
      let asked = 0;
      nc.subscribe('client.h1.ask', {
        callback: (_, msg) => void (++asked, msg.respond('{"error":{"code":"conflict","message":"no"}}')),
      });
      await expect(client.call(ask, { a: 1 }, { values, repeatAfterMs: 20_000 })).rejects.toMatchObject({
        code: 'conflict',
      });
      expect(asked).toBe(1);
    });
  });

  it('validates replies and fills in their defaults', async () => {
    answer('{}');
    expect(await client.call(ask, { a: 1 }, { values })).toEqual({ b: 7 });
  });

  it.each(['garbage', '[]', '{"b":"x"}', '{"b":1,"c":2}', '{"error":"no"}', '{"error":{"code":"odd","message":""}}'])(
    'reports `internal` for the reply %s',
    async (text) => {
      answer(text);
      await expect(client.call(ask, { a: 1 }, { values })).rejects.toMatchObject({ code: 'internal' });
    },
  );

  it('refuses values that would change the subject, and requests that are too large', async () => {
    await expect(client.call(ask, { a: 1 }, { values: { hostId: 'a.b' } })).rejects.toThrow(RangeError);
    const large = { a: 'x'.repeat(2_000_000) } as never;
    await expect(client.call(ask, large, { values })).rejects.toMatchObject({ code: 'invalid' });
  });

  it('gives up when told to', async () => {
    answer(undefined);
    const abort = new AbortController();
    const call = client.call(ask, { a: 1 }, { values, signal: abort.signal });
    abort.abort(new Error('enough'));
    await expect(call).rejects.toThrow('enough');
    await expect(client.call(ask, { a: 1 }, { values, signal: abort.signal })).rejects.toThrow('enough');
  });

  it('sends nothing while the server is away, and goes on when it is back', async () => {
    answer('{"b":1}');
    await server.kill9();
    await new Promise<void>((resolve) => {
      void (async () => {
        for await (const status of nc.status()) if (status.type === 'reconnecting') return resolve();
      })();
    });
    await expect(client.call(ask, { a: 1 }, { values, deadlineMs: 100 })).rejects.toMatchObject({
      code: 'unavailable',
    });
    const call = client.call(ask, { a: 1 }, { values, deadlineMs: 10_000 });
    await server.restart();
    expect(await call).toEqual({ b: 1 });
  });

  it('listens outside controllers and survives what comes', async () => {
    const heard: number[] = [];
    const last = new Promise<void>((resolve) => {
      client.subscribe('client.beat', ({ n }) => (n === 0 ? fail() : heard.push(n), n === 2 && resolve()), {
        schema: z.strictObject({ n: z.int() }),
      });
    });
    nc.publish('client.beat', 'garbage');
    client.publish('client.beat', { n: 0 });
    client.publish('client.beat', { n: 1 });
    client.publish('client.beat', { n: 2 });
    await last;
    expect(heard).toEqual([1, 2]);
  });

  it('waits for a server that is not there yet', async () => {
    await server.kill9();
    const connecting = connectNats({ servers: server.url, name: 'early' });
    await server.restart();
    await (await connecting).close();
  });
});

function fail(): never {
  throw new Error('listener failed');
}

describe('requireServerVersion', () => {
  it.each([
    ['2.9.10', '2.9.0', true],
    ['2.10.0', '2.9.10', true],
    ['2.9.10', '2.9.10', true],
    ['2.9.9', '2.9.10', false],
    ['1.99.0', '2.0.0', false],
    ['2.11.0-beta.1', '2.11.0', true],
  ])('%s satisfies %s: %s', (version, minimum, good) => {
    const check = () => requireServerVersion(minimum)({ version } as never);
    if (good) expect(check).not.toThrow();
    else expect(check).toThrow(`at least ${minimum} is needed`);
  });
});
