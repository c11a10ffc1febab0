import { Controller } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { INestMicroservice, Type } from '@nestjs/common';
import { connect, type NatsConnection } from 'nats';
import pino from 'pino';
import { z } from 'zod';
import { InboundWatermark } from '#journal';
import { againSubject, ANY, OperationError, operation } from '#protocol';
import { describeWithNats, startNatsServer, type NatsServer } from '../../../test/support/nats-server';
import { BusClient } from './bus-client';
import type { BusContext } from './bus-context';
import { Handles, Listens } from './decorators';
import { FleetBus, type FleetBusOptions } from './fleet-bus';
import { RequestGate } from './request-gate';
import { connectNats } from './nats-connection';

const add = operation({
  subject: 'test.{hostId}.add',
  request: z.strictObject({ a: z.int(), b: z.int().default(1) }),
  reply: z.strictObject({ sum: z.int() }),
  deadlineMs: 2_000,
  summary: 'Adds.',
});
const fail = operation({
  subject: 'test.fail',
  request: z.strictObject({ how: z.string() }),
  reply: z.strictObject({}),
  deadlineMs: 2_000,
  summary: 'Fails.',
});
const hold = operation({
  subject: 'test.hold',
  queue: 'holders',
  request: z.strictObject({ id: z.string() }),
  reply: z.strictObject({ by: z.string() }),
  deadlineMs: 5_000,
  summary: 'Answers when told to.',
});
const name = operation({
  subject: 'test.name',
  queue: 'named',
  repeatable: true,
  request: z.strictObject({}),
  reply: z.strictObject({ by: z.string() }),
  deadlineMs: 2_000,
  summary: 'Tells who answers.',
});
const begin = operation({
  subject: 'test.begin',
  queue: 'begun',
  repeatable: true,
  sheddable: true,
  request: z.strictObject({ id: z.string() }),
  reply: z.strictObject({ by: z.string() }),
  deadlineMs: 5_000,
  summary: 'Begins something new.',
});
const Beat = z.strictObject({ n: z.int() });

/** Lets a test wait for what a handler saw, and let it go on. */
class Probe {
  readonly seen: unknown[] = [];
  #release!: () => void;
  readonly released = new Promise<void>((resolve) => (this.#release = resolve));
  #waiters: { count: number; resolve: () => void }[] = [];

  saw(what: unknown): void {
    this.seen.push(what);
    this.#waiters = this.#waiters.filter(({ count, resolve }) => this.seen.length < count || resolve());
  }
  until(count: number): Promise<void> {
    return new Promise((resolve) => {
      if (this.seen.length >= count) resolve();
      else this.#waiters.push({ count, resolve });
    });
  }
  release(): void {
    this.#release();
  }
}

/** Resolves when the client has tried to reconnect so many times more. */
async function triedInVain(connection: NatsConnection, times: number): Promise<'tried in vain' | undefined> {
  for await (const { type } of connection.status())
    if (type === 'reconnecting' && --times === 0) return 'tried in vain';
  return undefined;
}

function testController(id: string, probe: Probe): Type<unknown> {
  @Controller()
  class TestController {
    @Handles(add)
    add({ a, b }: { a: number; b: number }, context: BusContext) {
      probe.saw(context.values);
      return { sum: a + b };
    }

    @Handles(fail)
    async fail({ how }: { how: string }): Promise<Record<string, never>> {
      await Promise.resolve();
      if (how === 'refuse') throw new OperationError('refused', 'no room', [{ path: 'how', message: 'bad' }]);
      if (how === 'throw') throw new Error('secret detail');
      if (how === 'odd') throw 'a string'; // eslint-disable-line @typescript-eslint/only-throw-error
      if (how === 'circular') {
        const loop: Record<string, never> & { self?: unknown } = {};
        loop.self = loop;
        return loop;
      }
      if (how === 'large') return { text: 'x'.repeat(2_000_000) } as never;
      return undefined as never;
    }

    @Handles(hold)
    async hold(request: { id: string }) {
      probe.saw(request.id);
      await probe.released;
      return { by: id };
    }

    @Handles(name)
    name() {
      return { by: id };
    }

    @Handles(begin)
    begin(request: { id: string }) {
      probe.saw(request.id);
      return { by: id };
    }

    @Listens('test.beat', { schema: Beat })
    beat(message: z.output<typeof Beat>) {
      if (message.n < 0) throw new Error('negative');
      probe.saw(message);
    }

    @Listens('test.beat', { schema: z.strictObject({ n: z.int().min(0) }), queue: 'beats' })
    alsoBeat(message: z.output<typeof Beat>) {
      probe.saw({ also: message });
    }
  }
  return TestController;
}

describeWithNats('FleetBus', () => {
  let server: NatsServer;
  let caller: NatsConnection;
  let client: BusClient;
  const apps: INestMicroservice[] = [];
  const connections: NatsConnection[] = [];
  const logs: { level: number; msg: string; err?: { message: string; stack: string } }[] = [];
  const logger = pino({ level: 'trace' }, { write: (line: string) => void logs.push(JSON.parse(line) as never) });

  beforeAll(async () => {
    server = await startNatsServer();
    caller = await connect({ servers: server.url });
    client = new BusClient(caller, logger);
  });
  afterEach(async () => {
    for (const app of apps.splice(0)) await app.close();
    for (const connection of connections.splice(0)) await connection.close();
    logs.length = 0;
  });
  afterAll(async () => {
    await caller.close();
    await server.stop();
  });

  async function serve(name = 'one', options: Partial<FleetBusOptions> = {}) {
    const probe = new Probe();
    const connection = await connectNats({ servers: server.url, name });
    const bus = new FleetBus({ connection, logger, values: { hostId: 'h1' }, ...options });
    const app = await NestFactory.createMicroservice(
      { module: class TestModule {}, controllers: [testController(name, probe)] },
      { strategy: bus, logger: false, abortOnError: false },
    );
    await app.listen();
    apps.push(app);
    connections.push(connection);
    return { probe, bus, connection };
  }

  async function raw(subject: string, payload: string | Uint8Array): Promise<Record<string, unknown>> {
    return (await caller.request(subject, payload, { timeout: 20_000 })).json();
  }

  it('is ready only with a server, however often the connection is lost on the way', async () => {
    const away = await startNatsServer();
    const connection = await connectNats({ servers: away.url, name: 'one' });
    try {
      const app = await NestFactory.createMicroservice(
        { module: class TestModule {}, controllers: [testController('one', new Probe())] },
        {
          strategy: new FleetBus({ connection, logger, values: { hostId: 'h1' } }),
          logger: false,
          abortOnError: false,
        },
      );
      apps.push(app);
      await app.init();
      await away.kill9();
      const ready = app.listen();
      await expect(Promise.race([ready, triedInVain(connection, 2)])).resolves.toBe('tried in vain');
      await away.restart();
      await ready;
      const other = await connect({ servers: away.url });
      expect((await other.request('test.h1.add', '{"a":1}')).json()).toEqual({ sum: 2 });
      await other.close();
    } finally {
      await connection.close();
      await away.stop();
    }
  });

  it('gives what a frozen replica left unanswered to all the others', async () => {
    // Nine of ten attempts to the queue group are theirs.
    const frozen = Array.from({ length: 9 }, () => caller.subscribe(name.subject, { queue: name.queue! }));
    await serve();
    const calls = Array.from({ length: 20 }, () => client.call(name, {}, { repeatAfterMs: 100, deadlineMs: 20_000 }));
    expect(new Set((await Promise.all(calls)).map(({ by }) => by))).toEqual(new Set(['one']));
    for (const subscription of frozen) subscription.unsubscribe();
  });

  it('answers plain JSON of any client, filling in defaults and the subject', async () => {
    const { probe } = await serve();
    expect(await raw('test.h1.add', '{"a":2,"b":3}')).toEqual({ sum: 5 });
    expect(await client.call(add, { a: 2 }, { values: { hostId: 'h1' } })).toEqual({ sum: 3 });
    expect(probe.seen).toEqual([{ hostId: 'h1' }, { hostId: 'h1' }]);
  });

  it('serves every host where told so, and tells which one the subject names', async () => {
    const { probe } = await serve('one', { values: { hostId: ANY, zone: 'z' } });
    for (const hostId of ['h1', 'h2']) expect(await raw(`test.${hostId}.add`, '{"a":2}')).toEqual({ sum: 3 });
    expect(probe.seen).toEqual([
      { hostId: 'h1', zone: 'z' },
      { hostId: 'h2', zone: 'z' },
    ]);
  });

  it.each<[string, string | Uint8Array]>([
    ['text', 'hello'],
    ['half of JSON', '{"a":'],
    ['not UTF-8', Uint8Array.of(0x22, 0xff, 0xfe, 0x22)],
    ['binary', Uint8Array.from({ length: 300 }, (_, i) => i & 0xff)],
    ['nothing', ''],
    ['null', 'null'],
    ['an array', '[1,2]'],
    ['a number', '5'],
    ['a wrong type', '{"a":"2"}'],
    ['a missing field', '{"b":2}'],
    ['an unknown field', '{"a":1,"c":2}'],
    ['a poisoned prototype', '{"a":1,"__proto__":{"admin":true}}'],
    ['too large a number', '{"a":1e400}'],
    ['deep nesting', `{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}`],
    ['a huge message', `{"a":1,"c":"${'x'.repeat(900_000)}"}`],
    ['a huge unknown key', `{"a":1,"${'k'.repeat(200_000)}":2}`],
    ['an envelope of another framework', '{"pattern":"test.h1.add","data":{"a":1},"id":"1"}'],
  ])('answers %s with `invalid` and lives on', async (_, payload) => {
    const { probe } = await serve();
    const reply = (await raw('test.h1.add', payload)) as { error: { code: string; message: string } };
    expect(reply.error.code).toBe('invalid');
    expect(reply.error.message.length).toBeLessThan(1_000);
    expect(probe.seen).toEqual([]);
    expect(await raw('test.h1.add', '{"a":1}')).toEqual({ sum: 2 });
  });

  it('answers to inboxes only: what asks for an answer elsewhere is not even done', async () => {
    const { probe } = await serve();
    const answers: string[] = [];
    caller.subscribe('history.>', { callback: (_, msg) => void answers.push(msg.string()) });
    caller.publish('test.h1.add', '{"a":1}', { reply: 'history.of.somebody' });
    await raw('test.h1.add', '{"a":2}');
    expect(probe.seen).toHaveLength(1);
    expect(answers).toEqual([]);
    expect(logs).toContainEqual(expect.objectContaining({ event: 'forgedReply', reply: 'history.of.somebody' }));
  });

  it('says which fields are wrong', async () => {
    await serve();
    await expect(client.call(add, { a: 'x', c: 1 } as never, { values: { hostId: 'h1' } })).rejects.toMatchObject({
      name: 'OperationError',
      code: 'invalid',
      details: [
        { path: 'a', message: expect.any(String) as string },
        { path: '', message: expect.stringContaining('"c"') as string },
      ],
    });
  });

  it('hands an OperationError to the caller as it is', async () => {
    await serve();
    await expect(client.call(fail, { how: 'refuse' })).rejects.toMatchObject({
      code: 'refused',
      message: 'no room',
      details: [{ path: 'how', message: 'bad' }],
    });
  });

  it.each(['throw', 'odd', 'circular', 'large'])(
    'answers `internal` when a handler fails (%s), logs it, tells nothing',
    async (how) => {
      await serve();
      const error = (await client.call(fail, { how }).catch((e: unknown) => e)) as OperationError;
      expect(error).toMatchObject({ code: 'internal' });
      expect(error.message).not.toMatch(/secret|at /);
      const reference = /under (\w+)/.exec(error.message)![1];
      expect(logs.find((line) => line.msg === 'handler failed')).toMatchObject({ reference });
      if (how === 'throw') expect(logs.find((line) => line.err)?.err?.stack).toContain('secret detail');
      expect(await client.call(fail, { how: 'nothing' })).toEqual({});
    },
  );

  it('runs a request that wants no answer, and survives its failure', async () => {
    const { probe } = await serve();
    caller.publish('test.fail', '{"how":"throw"}');
    caller.publish('test.fail', 'garbage');
    caller.publish('test.h1.add', '{"a":1}');
    await probe.until(1);
    expect(await raw('test.h1.add', '{"a":1}')).toEqual({ sum: 2 });
  });

  it('hears events, drops malformed ones, survives failing listeners', async () => {
    const { probe, bus } = await serve();
    caller.publish('test.beat', 'garbage');
    caller.publish('test.beat', '{"n":"1"}');
    caller.publish('test.beat', '{"n":-1}');
    caller.publish('test.beat', '{"n":1}');
    await probe.until(2);
    await bus.close();
    expect(probe.seen).toEqual([{ n: 1 }, { also: { n: 1 } }]);
    expect(logs.filter((line) => line.msg === 'malformed event dropped')).toHaveLength(5);
    expect(logs.filter((line) => line.msg === 'event handler failed')).toHaveLength(1);
  });

  it('lets one member of a queue group answer, and another take over when it is gone', async () => {
    const [a, b] = [await serve('a'), await serve('b')];
    a.probe.release();
    b.probe.release();
    const replies = await Promise.all(Array.from({ length: 200 }, (_, i) => client.call(hold, { id: `${i}` })));
    expect(a.probe.seen.length + b.probe.seen.length).toBe(200);
    expect(new Set(replies.map(({ by }) => by))).toEqual(new Set(['a', 'b']));
    await a.bus.close();
    const more = await Promise.all(Array.from({ length: 50 }, (_, i) => client.call(hold, { id: `${i}` })));
    expect(new Set(more.map(({ by }) => by))).toEqual(new Set(['b']));
  });

  it('finishes what it has and takes nothing new when closed', async () => {
    const { probe, bus } = await serve();
    const calls = ['1', '2', '3'].map((id) => client.call(hold, { id }));
    await probe.until(3);
    const closed = bus.close();
    let done = false;
    void closed.then(() => (done = true));
    await caller.flush();
    // Asked while it drains: nobody is there.
    await expect(
      (async () => {
        for (;;) await client.call(fail, { how: 'nothing' });
      })(),
    ).rejects.toMatchObject({ code: 'unavailable' });
    expect(done).toBe(false);
    expect(bus.inFlight).toBe(3);
    probe.release();
    expect(await Promise.all(calls)).toEqual([{ by: 'one' }, { by: 'one' }, { by: 'one' }]);
    await closed;
    expect(bus.inFlight).toBe(0);
  });

  it('does not wait for ever for a handler that hangs', async () => {
    const { probe, bus } = await serve('one', { drainMs: 50 });
    const call = client.call(hold, { id: '1' }, { deadlineMs: 1_000 }).catch((e: unknown) => e);
    await probe.until(1);
    await bus.close();
    expect(logs.some((line) => line.msg === 'gave up waiting for handlers to finish')).toBe(true);
    probe.release();
    await call;
  });

  it('sheds what it cannot take at once', async () => {
    const { probe } = await serve('one', { maxInFlight: 2 });
    const held = ['1', '2'].map((id) => client.call(hold, { id }));
    await probe.until(2);
    await expect(client.call(hold, { id: '3' })).rejects.toMatchObject({ code: 'overloaded', retryAfterMs: 1_000 });
    probe.release();
    await Promise.all(held);
    expect(await client.call(hold, { id: '4' })).toEqual({ by: 'one' });
  });

  it('turns requests away while its gate is closed', async () => {
    const gate = new RequestGate();
    const { probe } = await serve('gated', { gate });
    let closed = true;
    gate.closeWhile(() => closed);
    await expect(client.call(hold, { id: '1' })).rejects.toMatchObject({ code: 'unavailable' });
    closed = false;
    const held = client.call(hold, { id: '2' });
    await probe.until(1);
    probe.release();
    expect(await held).toEqual({ by: 'gated' });
  });

  describe('new work', () => {
    /** Messages that have come over a connection since. */
    const heardOver = (connection: NatsConnection): (() => number) => {
      const before = connection.stats().inMsgs;
      return () => connection.stats().inMsgs - before;
    };
    afterEach(() => jest.restoreAllMocks());

    it('comes through a door of its own where there is one, and everything else does not', async () => {
      const door = await connectNats({ servers: server.url, name: 'door' });
      connections.push(door);
      await serve('one', { door });
      const heard = heardOver(door);
      expect(await client.call(begin, { id: 'a' })).toEqual({ by: 'one' });
      expect(heard()).toBe(1);
      expect((await caller.request(againSubject(begin.subject), '{"id":"b"}')).json()).toEqual({ by: 'one' });
      expect(heard()).toBe(2);
      await client.call(name, {});
      expect(heard()).toBe(2);
    });

    it('is turned away unread while the service is behind; what is under way goes on', async () => {
      const { probe } = await serve();
      jest.spyOn(InboundWatermark.prototype, 'lagMs', 'get').mockReturnValue(1_500);
      jest.spyOn(InboundWatermark.prototype, 'readUntilMs', 'get').mockReturnValue(1);
      const outcomes = await Promise.allSettled(
        Array.from({ length: 200 }, () => client.call(begin, { id: 'a' }, { deadlineMs: 60_000 })),
      );
      const refused = outcomes.filter((one) => one.status === 'rejected').map(({ reason }) => reason as unknown);
      expect(refused).toHaveLength(200 - probe.seen.length);
      expect(refused[0]).toMatchObject({ code: 'overloaded', retryAfterMs: 1_500 });
      expect(await client.call(name, {})).toEqual({ by: 'one' });
      jest.restoreAllMocks();
      expect(await client.call(begin, { id: 'b' })).toEqual({ by: 'one' });
    });
  });

  it('refuses two handlers for one subject', async () => {
    const connection = await connectNats({ servers: server.url, name: 'twice' });
    connections.push(connection);
    const controllers = [testController('a', new Probe()), testController('b', new Probe())];
    const start = async () => {
      const strategy = new FleetBus({ connection, logger, values: { hostId: 'h1' } });
      const app = await NestFactory.createMicroservice(
        { module: class TwiceModule {}, controllers },
        { strategy, logger: false, abortOnError: false },
      );
      await app.listen();
    };
    await expect(start()).rejects.toThrow('two handlers for test.{hostId}.add');
  });
});
