import { connect as dial, type Socket } from 'node:net';
import { once } from 'node:events';
import type { FastifyInstance } from 'fastify';
import fc from 'fast-check';
import pino from 'pino';
import { connectNats } from '#bus';
import type { NatsConnection } from 'nats';
import { describeWithNats, startNatsServer, type NatsServer } from '../../../../test/support/nats-server';
import { ROUTES } from '../routes';
import {
  ask,
  gatewayUnderTest,
  TOKEN,
  type GatewayUnderTest,
  type RequestOptions,
} from '../testing/gateway-under-test';
import { ScriptedController } from '../testing/scripted-controller';
import { ScriptedImages } from '../testing/scripted-images';
import { Problem } from './problem';

const ID = '01jaaaaaaaaaaaaaaaaaaaaaaa';

/** Resolves with all that a server said when it holds so many answers; rejects when the connection breaks before. */
function answersOn(socket: Socket): (count: number) => Promise<string> {
  let text = '';
  let look = (): void => undefined;
  socket.setEncoding('utf8').on('data', (chunk: string) => ((text += chunk), look()));
  return (count) =>
    new Promise((resolve, reject) => {
      socket.once('error', reject);
      look = () => void ((text.match(/HTTP\/1\.1 \d{3} /g)?.length ?? 0) >= count && resolve(text));
      look();
    });
}

describeWithNats('the HTTP face of the gateway', () => {
  let server: NatsServer;
  let nc: NatsConnection;
  let controller: ScriptedController;
  let images: ScriptedImages;
  let gateway: GatewayUnderTest;
  const log: Record<string, unknown>[] = [];

  beforeAll(async () => {
    server = await startNatsServer();
    nc = await connectNats({ servers: server.url, name: 'scripted-controller' });
    controller = await ScriptedController.start(nc);
    images = await ScriptedImages.start(nc);
    const logger = pino(
      { level: 'warn' },
      { write: (line: string) => void log.push(JSON.parse(line) as Record<string, unknown>) },
    );
    gateway = await gatewayUnderTest(server.url, { logger });
  });
  afterAll(async () => {
    await gateway?.close();
    await images?.stop();
    await nc?.close();
    await server?.stop();
  });

  const refusal = async (path: string, options?: RequestOptions) => {
    const answer = await gateway.request(path, options);
    expect(answer.headers.get('content-type')).toBe('application/problem+json; charset=utf-8');
    expect(answer.headers.get('cache-control')).toBe('no-store');
    const problem = Problem.parse(answer.json);
    expect(problem.status).toBe(answer.status);
    return { ...answer, problem, code: problem.code };
  };

  describe('without the token', () => {
    it.each(
      ROUTES.filter(({ access }) => access !== 'open').map(({ method, path }) => [method, path.replace('{id}', ID)]),
    )('refuses %s %s', async (method, path) => {
      const { status, code, headers } = await refusal(path, { method, token: null });
      expect({ status, code }).toEqual({ status: 401, code: 'unauthorized' });
      expect(headers.get('www-authenticate')).toBe('Bearer realm="volley"');
    });

    it.each(['wrong', 'token-of-a-test-operato', 'token-of-a-test-operator2'])(
      'refuses the token %s',
      async (token) => {
        const { status, headers } = await refusal('/v1/microvms', { token });
        expect(status).toBe(401);
        expect(headers.get('www-authenticate')).toMatch(/error="invalid_token"/);
      },
    );

    it('refuses other schemes, and the token anywhere else', async () => {
      const basic = { authorization: `Basic ${Buffer.from('a:token-of-a-test-operator').toString('base64')}` };
      expect((await refusal('/v1/microvms', { token: null, headers: basic })).status).toBe(401);
      expect((await refusal('/v1/microvms?access_token=token-of-a-test-operator', { token: null })).status).toBe(401);
    });

    it('does not tell what exists under /v1', async () => {
      for (const path of ['/v1/nothing', '/v1', '/v1/microvms/x/y/z']) {
        expect((await refusal(path, { token: null })).status).toBe(401);
      }
    });

    it('refuses before it reads a body', async () => {
      const body = 'x'.repeat(1_000_000);
      expect((await refusal('/v1/microvms', { token: null, method: 'POST', body })).status).toBe(401);
    });
  });

  it.each(['/nothing', '/v1/nothing', '/v1/microvms/', `/v1/microvms/${ID}/fly`, '/assets/none.js', '/favicon.ico'])(
    'has nothing at %s',
    async (path) => {
      const { status, code, problem } = await refusal(path);
      expect({ status, code, instance: problem.instance }).toEqual({ status: 404, code: 'notFound', instance: path });
    },
  );

  it.each([
    ['PUT', '/v1/microvms', 'GET, HEAD, POST'],
    ['DELETE', '/v1/microvms', 'GET, HEAD, POST'],
    ['PATCH', `/v1/microvms/${ID}`, 'DELETE, GET, HEAD'],
    ['GET', `/v1/microvms/${ID}/pause`, 'POST'],
    ['POST', '/v1/hosts', 'GET, HEAD'],
    ['OPTIONS', '/healthz', 'GET, HEAD'],
  ])('refuses %s %s and names what is allowed', async (method, path, allowed) => {
    const { status, headers, code } = await refusal(path, { method });
    expect({ status, code, allow: headers.get('allow') }).toEqual({
      status: 405,
      code: 'methodNotAllowed',
      allow: allowed,
    });
  });

  describe('bodies', () => {
    const post = (body: string, headers = {}) => refusal('/v1/microvms', { method: 'POST', body, headers });

    it.each(['{', '{"image":}', 'image=canary', '\u0000', '{"image":"canary"}}'])('refuses %j', async (body) => {
      expect(await post(body)).toMatchObject({ status: 400, code: 'malformed' });
    });

    it('refuses what reaches for the prototype', async () => {
      expect((await post('{"image":"canary","__proto__":{"vcpus":3}}')).status).toBe(400);
      expect((await post('{"image":"canary","labels":{"__proto__":"x"}}')).status).toBe(400);
    });

    it('refuses too much', async () => {
      const body = JSON.stringify({ image: 'canary', cmdline: 'x'.repeat(65_536) });
      expect(await post(body)).toMatchObject({ status: 413, code: 'tooLarge' });
    });

    it.each([
      ['goes on reading, so that the sender gets to read why', 1 << 20, 'keep-alive'],
      ['hangs up on what would take too long', 1 << 30, 'close'],
    ])('refuses too much and %s', async (_, length, connection) => {
      const { hostname, port } = new URL(gateway.url);
      const socket = dial(Number(port), hostname);
      try {
        const heard = answersOn(socket);
        const head = (method: string, path: string) =>
          `${method} ${path} HTTP/1.1\r\nhost: ${hostname}\r\nauthorization: Bearer ${TOKEN}\r\n`;
        socket.write(
          `${head('POST', '/v1/microvms')}content-type: application/json\r\ncontent-length: ${length}\r\n\r\n`,
        );
        expect(await heard(1)).toMatch(new RegExp(`^HTTP/1.1 413 [^]*connection: ${connection}`, 'i'));
        if (connection === 'close') return expect(await once(socket, 'end')).toEqual([]);
        socket.write('x'.repeat(length));
        socket.write(`${head('GET', '/healthz')}\r\n`);
        expect(await heard(2)).toContain('HTTP/1.1 200 ');
      } finally {
        socket.destroy();
      }
    });

    it('refuses deep nesting without trouble', async () => {
      expect((await post('['.repeat(30_000) + ']'.repeat(30_000))).status).toBe(422);
      expect((await post(`{"image":${'{"a":'.repeat(10_000)}1${'}'.repeat(10_000)}}`)).status).toBe(422);
    });

    it.each(['text/plain', 'application/xml', 'application/x-www-form-urlencoded', 'nonsense'])(
      'refuses %s',
      async (type) => {
        const answer = await post('{"image":"canary"}', { 'content-type': type });
        expect(answer).toMatchObject({ status: 415, code: 'unsupportedMediaType' });
      },
    );

    it('refuses a body where there is none', async () => {
      const body = JSON.stringify({ a: 1 });
      expect((await refusal(`/v1/microvms/${ID}`, { method: 'DELETE', body })).status).toBe(422);
    });
  });

  it('answers HEAD without a body', async () => {
    for (const path of ['/healthz', '/v1/microvms', '/v1/events', '/']) {
      const { status, text } = await gateway.request(path, { method: 'HEAD' });
      expect({ path, status, text }).toEqual({ path, status: 200, text: '' });
    }
  });

  it.each([
    ['GET /v1/%zz HTTP/1.1\r\nHost: a\r\n\r\n', /^HTTP\/1\.1 40\d /],
    ['this is not HTTP\r\n\r\n', /^HTTP\/1\.1 400 /],
    [`GET / HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(100_000)}\r\n\r\n`, /^HTTP\/1\.1 431 /],
  ])('answers %.30j with a problem', async (bytes, status) => {
    const socket = dial(Number(new URL(gateway.url).port), '127.0.0.1');
    await once(socket, 'connect');
    let text = '';
    socket
      .setEncoding('utf8')
      .on('data', (chunk: string) => (text += chunk))
      .on('error', () => undefined);
    socket.write(bytes);
    while (!text.includes('}')) await once(socket, 'data');
    socket.destroy();
    expect(text).toMatch(status);
    expect(text.toLowerCase()).toContain('content-type: application/problem+json');
  });

  it('tells nothing of a fault but its existence, and logs it', async () => {
    const list = jest.spyOn(gateway.fleet, 'list').mockImplementation(() => {
      throw new Error('secret of the inside');
    });
    const { status, text } = await refusal('/v1/microvms');
    list.mockRestore();
    expect(status).toBe(500);
    expect(text).not.toContain('secret');
    expect(log.at(-1)).toMatchObject({ level: 50, path: '/v1/microvms', err: { message: 'secret of the inside' } });
  });

  it('has every route of the table, and no other', () => {
    const http = gateway.app.getHttpAdapter().getInstance() as unknown as FastifyInstance;
    for (const { method, path } of ROUTES) {
      expect(`${path} ${http.hasRoute({ method, url: path.replace(/\{(\w+)\}/g, ':$1') })}`).toBe(`${path} true`);
    }
    const tree = http.printRoutes({ commonPrefix: false });
    const methods = [...tree.matchAll(/\(([A-Z, ]+)\)/g)].flatMap(([, list]) => list!.split(', '));
    expect(methods.filter((method) => method !== 'HEAD')).toHaveLength(ROUTES.length);
  });

  describe('whatever a client sends', () => {
    beforeAll(() => {
      controller.script.start = 'hangs';
    });
    const paths = ROUTES.filter(({ path }) => path !== '/v1/events');

    it('never answers 5xx', async () => {
      const spec = fc.record(
        {
          image: fc.oneof(fc.constant('canary'), fc.anything()),
          vcpus: fc.oneof(fc.integer(), fc.anything()),
          memoryMiB: fc.oneof(fc.double(), fc.anything()),
          labels: fc.oneof(fc.dictionary(fc.string(), fc.string()), fc.anything()),
          cmdline: fc.oneof(fc.string({ unit: 'binary' }), fc.anything()),
          tenant: fc.string(),
          ttlSeconds: fc.anything(),
        },
        { requiredKeys: [] },
      );
      const body = fc.oneof(
        fc.json(),
        fc.string(),
        spec.map((value) => JSON.stringify(value) ?? ''),
      );
      const query = fc.oneof(
        fc.constant(''),
        fc.webQueryParameters().map((text) => `?${text}`),
        fc.constantFrom('?wait=running&timeout=1ms', '?label==', '?at=', '?state=', '?limit=1e3', '?__proto__=1'),
      );
      const id = fc.oneof(fc.constant(ID), fc.webSegment(), fc.constantFrom('host-a', '%00', '..', '__proto__'));
      const header = fc.string({ maxLength: 40 }).map((text) => text.replace(/[^\x20-\x7e]/g, '').trim());
      await fc.assert(
        fc.asyncProperty(
          fc.constantFrom(...paths),
          id,
          query,
          body,
          header,
          async (definition, one, search, text, key) => {
            const url = gateway.url + definition.path.replace(/\{\w+\}/, one || 'x') + search;
            const { status, json } = await ask(url, {
              method: definition.method,
              headers: { 'idempotency-key': key },
              ...(definition.method === 'GET' ? {} : { body: text }),
            });
            expect(status).toBeLessThan(500);
            if (status >= 400) expect(Problem.safeParse(json).error).toBeUndefined();
          },
        ),
        { numRuns: 250 },
      );
    }, 120_000);
  });
});
