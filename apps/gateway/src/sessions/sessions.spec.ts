import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import { Readable } from 'node:stream';
import type { NatsConnection } from 'nats';
import { extract } from 'tar-stream';
import { WebSocket } from 'ws';
import { connectNats } from '#bus';
import { encodeSize, OperationError, SESSION_FRAME, SESSION_WINDOW, type SessionEnd } from '#protocol';
import { describeWithNats, startNatsServer, type NatsServer } from '../../../../test/support/nats-server';
import { gatewayUnderTest, TOKEN, type GatewayUnderTest } from '../testing/gateway-under-test';
import { ScriptedController } from '../testing/scripted-controller';
import { ScriptedImages } from '../testing/scripted-images';
import { ScriptedSessions } from '../testing/scripted-sessions';

/** A client of a session's WebSocket. */
class Client {
  stdout = '';
  stderr = '';
  types: number[] = [];
  received = 0;
  credit = 0;
  end: SessionEnd | undefined;
  closed: Promise<number>;
  readonly #changes: (() => void)[] = [];

  constructor(readonly socket: WebSocket) {
    this.closed = once(socket, 'close').then(([code]) => code as number);
    socket.on('message', (data: Buffer) => {
      const [type, content] = [data[0]!, data.subarray(1)];
      this.types.push(type);
      if (type === SESSION_FRAME.stdout) {
        this.received += content.length;
        if (content.length < 1_000) this.stdout += content.toString();
      }
      if (type === SESSION_FRAME.stderr) this.stderr += content.toString();
      if (type === SESSION_FRAME.credit) this.credit += content.readUInt32LE(0);
      if (type === SESSION_FRAME.exited) this.end = JSON.parse(content.toString()) as SessionEnd;
      for (const change of this.#changes.splice(0)) change();
    });
  }

  send(type: number, content: Uint8Array = new Uint8Array()): void {
    this.socket.send(Buffer.concat([Uint8Array.of(type), content]));
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.#changes.push(resolve));
  }
}

describeWithNats('sessions over the gateway', () => {
  let server: NatsServer;
  let nc: NatsConnection;
  let controller: ScriptedController;
  let images: ScriptedImages;
  let host: ScriptedSessions;
  let gateway: GatewayUnderTest;
  let id: string;

  beforeAll(async () => {
    server = await startNatsServer();
    nc = await connectNats({ servers: server.url, name: 'scripted-controller' });
    controller = await ScriptedController.start(nc);
    images = await ScriptedImages.start(nc);
    gateway = await gatewayUnderTest(server.url);
    const created = await gateway.request('/v1/microvms?wait=running', { method: 'POST', body: { image: 'canary' } });
    id = created.json.id as string;
  });
  beforeEach(async () => {
    host = await ScriptedSessions.start(nc);
  });
  afterEach(() => host.stop());
  afterAll(async () => {
    await gateway?.close();
    await images?.stop();
    await controller?.pause();
    await nc?.close();
    await server?.stop();
  });

  const socketOf = (path: string, protocols: string[] = ['volley.v1'], token: string | null = TOKEN): WebSocket =>
    new WebSocket(`${gateway.url.replace('http', 'ws')}/v1/microvms/${path}`, protocols, {
      headers: token === null ? {} : { authorization: `Bearer ${token}` },
    });
  const connect = async (path: string): Promise<Client> => {
    const client = new Client(socketOf(path));
    await once(client.socket, 'open');
    return client;
  };
  const exec = async (what: object): Promise<Client> => {
    const client = await connect(`${id}/exec`);
    client.socket.send(JSON.stringify(what));
    return client;
  };
  /** The answer to a WebSocket that is refused. */
  const refused = async (socket: WebSocket): Promise<{ status: number; code: string; type: string }> => {
    socket.on('error', () => undefined);
    const [, response] = (await once(socket, 'unexpected-response')) as [
      unknown,
      Readable & { statusCode: number; headers: Record<string, string> },
    ];
    let text = '';
    for await (const chunk of response) text += String(chunk);
    const type = response.headers['content-type']!;
    return { status: response.statusCode, code: (JSON.parse(text) as { code: string }).code, type };
  };
  const run = (body: object) => gateway.request(`/v1/microvms/${id}/exec`, { method: 'POST', body });
  const allEnded = async (): Promise<void> => {
    while (host.open.size > 0) await nc.flush();
  };

  describe('POST .../exec', () => {
    it('runs a command to its end', async () => {
      const { status, json } = await run({
        command: ['echo', 'a', 'b'],
        env: { A: '1' },
        user: 'app',
        workdir: '/srv',
      });
      expect({ status, json }).toEqual({
        status: 200,
        json: { exitCode: 0, signal: null, stdout: 'a b\n', stderr: 'to stderr\n', truncated: false, timedOut: false },
      });
      expect(host.requests[0]).toMatchObject({
        microvmId: id,
        by: 'operator',
        open: { kind: 'exec', env: { A: '1' }, user: 'app', workdir: '/srv', stdin: false },
      });
      expect((await run({ command: ['exit', '9'] })).json.exitCode).toBe(9);
    });

    it('gives it input, and bytes as base64', async () => {
      expect((await run({ command: ['cat'], stdin: 'some text' })).json.stdout).toBe('some text');
      const bytes = Buffer.from([0, 255, 10]).toString('base64');
      expect((await run({ command: ['cat'], stdin: bytes, encoding: 'base64' })).json.stdout).toBe(bytes);
    });

    it('keeps no more than is asked for, of however much', async () => {
      const { json } = await run({ command: ['flood', '5000000'], maxOutputBytes: 100 });
      expect(json).toMatchObject({ exitCode: 0, truncated: true, stdout: 'x'.repeat(100) });
    });

    it('ends it when its time is up', async () => {
      const { status, json } = await run({ command: ['sleep'], timeoutMs: 50 });
      expect({ status, json }).toMatchObject({ status: 200, json: { exitCode: null, timedOut: true } });
      await allEnded();
    });

    it('ends it when the client goes away', async () => {
      const request = httpRequest(`${gateway.url}/v1/microvms/${id}/exec`, {
        method: 'POST',
        headers: { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' },
      });
      request.on('error', () => undefined).end(JSON.stringify({ command: ['sleep'] }));
      while (host.open.size === 0) await nc.flush();
      request.destroy();
      await allEnded();
    });

    it('lets a suspended microVM go on first, and says why it cannot', async () => {
      await gateway.request(`/v1/microvms/${id}/suspend?wait=suspended`, { method: 'POST', body: {} });
      controller.script.start = 'fails';
      const refused = await run({ command: ['echo', 'a'] });
      expect([refused.status, refused.json.detail]).toEqual([
        409,
        expect.stringContaining('it could not go on: no slot free'),
      ]);
      controller.script.start = 'done';
      expect((await run({ command: ['echo', 'a', 'b'] })).json).toMatchObject({ stdout: 'a b\n' });
      expect((await gateway.request(`/v1/microvms/${id}`)).json).toMatchObject({ state: 'running' });
    });

    it('says why it did not', async () => {
      expect(await run({ command: ['missing'] })).toMatchObject({ status: 404, json: { code: 'notFound' } });
      expect(await run({ command: [] })).toMatchObject({ status: 422 });
      expect(await run({ command: ['x'], shell: true })).toMatchObject({ status: 422 });
      host.refusal = new OperationError('unsupported', 'this microVM has no vsock device');
      expect(await run({ command: ['echo'] })).toMatchObject({ status: 422, json: { code: 'unsupported' } });
      await host.stop();
      expect(await run({ command: ['echo'] })).toMatchObject({ status: 503 });
      const stopped = (
        await gateway.request('/v1/microvms?wait=running', { method: 'POST', body: { image: 'canary' } })
      ).json;
      await gateway.request(`/v1/microvms/${stopped.id}/stop?wait=stopped`, { method: 'POST' });
      const path = `/v1/microvms/${stopped.id}/exec`;
      expect(await gateway.request(path, { method: 'POST', body: { command: ['echo'] } })).toMatchObject({
        status: 409,
      });
    });
  });

  describe('GET .../exec', () => {
    it('runs a command with streams', async () => {
      const client = await exec({ command: ['echo', 'hi'] });
      expect(await client.closed).toBe(1000);
      expect(client).toMatchObject({ stdout: 'hi\n', stderr: 'to stderr\n', end: { code: 0 } });
      expect(client.types[0]).toBe(SESSION_FRAME.started);
      expect(client.socket.protocol).toBe('volley.v1');
    });

    it('passes input, size and signals on', async () => {
      const client = await exec({ command: ['watch'], stdin: true, tty: { rows: 24, columns: 80 } });
      client.send(SESSION_FRAME.resize, encodeSize(30, 40));
      client.send(SESSION_FRAME.signal, Uint8Array.of(15));
      await client.until(() => client.stdout.split(';').length > 2);
      expect(client.stdout).toBe('2:1e002800;3:0f;');
      expect(host.requests[0]!.open).toMatchObject({ tty: { rows: 24, columns: 80 }, stdin: true });
      client.socket.close();
      await allEnded();
    });

    it('ends the command with the socket, however that ends', async () => {
      for (const end of ['close', 'terminate', 'frame'] as const) {
        const client = await exec({ command: ['sleep'] });
        await client.until(() => client.types.length > 0);
        if (end === 'frame') client.send(SESSION_FRAME.close);
        else client.socket[end]();
        await allEnded();
      }
    });

    it('sends no more input than is taken, and ends a client that heeds no credit', async () => {
      host.takes = false;
      const client = await exec({ command: ['watch'], stdin: true });
      await client.until(() => client.types.length > 0);
      for (let i = 0; i < 5; i++) client.send(SESSION_FRAME.stdin, Buffer.alloc(100_000));
      while (host.received < SESSION_WINDOW) await nc.flush();
      for (let i = 0; i < 20; i++) await nc.flush();
      expect(host.received).toBe(SESSION_WINDOW);
      for (let i = 0; i < 5; i++) client.send(SESSION_FRAME.stdin, Buffer.alloc(100_000));
      expect(await client.closed).toBe(1008);
      expect(client.end).toMatchObject({ error: { code: 'invalid', message: expect.stringContaining('credit') } });
      await allEnded();
    });

    it('tells how much input was taken', async () => {
      const client = await exec({ command: ['watch'], stdin: true });
      for (let i = 0; i < 3; i++) client.send(SESSION_FRAME.stdin, Buffer.alloc(32_768));
      await client.until(() => client.credit >= 65_536);
      client.socket.close();
      await allEnded();
    });

    it('sends no more output than the client reads', async () => {
      const bytes = 40_000_000;
      const client = await exec({ command: ['flood', String(bytes)] });
      await client.until(() => client.received > 0);
      client.socket.pause();
      const before = client.received;
      for (let i = 0; i < 50; i++) await nc.flush();
      const channel = [...host.open][0]!;
      // Stuck, with the credit used up: what is under way is in the sockets and in the window.
      while (channel.credit > 0) await nc.flush();
      expect(client.received).toBe(before);
      client.socket.resume();
      await client.closed;
      expect(client).toMatchObject({ received: bytes, end: { code: 0 } });
    });

    it('says why it did not run', async () => {
      const missing = await exec({ command: ['missing'] });
      await missing.closed;
      expect(missing.end).toMatchObject({ error: { code: 'notFound' } });
      const wrong = await exec({ command: 'echo' });
      await wrong.closed;
      expect(wrong.end).toMatchObject({ error: { code: 'invalid', message: expect.stringContaining('command') } });
      const none = await connect(`${id}/exec`);
      none.socket.send(Buffer.from([1, 2]));
      await none.closed;
      expect(none.end).toMatchObject({ error: { code: 'invalid' } });
      await host.stop();
      const away = await exec({ command: ['echo'] });
      await away.closed;
      expect(away.end).toMatchObject({ error: { code: 'unavailable' } });
    });
  });

  it('GET .../console shows and types', async () => {
    const client = await connect(`${id}/console?historyBytes=7`);
    await client.until(() => client.stdout === 'booted, 7 kept\n');
    client.send(SESSION_FRAME.stdin, Buffer.from('ls\r'));
    await client.until(() => client.stdout.endsWith('LS\r'));
    client.socket.close();
    await allEnded();
  });

  describe('a WebSocket', () => {
    it('needs the token, in the header or as a protocol', async () => {
      const problem = 'application/problem+json; charset=utf-8';
      expect(await refused(socketOf(`${id}/exec`, [], null))).toEqual({
        status: 401,
        code: 'unauthorized',
        type: problem,
      });
      expect(await refused(socketOf(`${id}/exec`, [], 'wrong'))).toMatchObject({ status: 401 });
      // Nor does a stranger learn what there is.
      expect(await refused(socketOf('nothing/exec', [], null))).toMatchObject({ status: 401 });
      const bearer = `volley.bearer.${Buffer.from(TOKEN).toString('base64url')}`;
      const socket = socketOf(`${id}/console`, ['volley.v1', bearer], null);
      await once(socket, 'open');
      expect(socket.protocol).toBe('volley.v1');
      socket.close();
      expect(await refused(socketOf(`${id}/exec`, ['volley.v1', 'volley.bearer.AAAA'], null))).toMatchObject({
        status: 401,
      });
    });

    it('is only where there is one', async () => {
      expect(await refused(socketOf(`${id}/files`))).toMatchObject({ status: 404 });
      expect(await refused(socketOf('nothing/exec'))).toMatchObject({ status: 404 });
      expect(await refused(socketOf(`${'0'.repeat(26)}/exec`))).toMatchObject({ status: 404 });
      expect(await refused(socketOf(`${id}/console?historyBytes=-1`))).toMatchObject({ status: 422 });
      const plain = await gateway.request(`/v1/microvms/${id}/exec`);
      expect({ status: plain.status, upgrade: plain.headers.get('upgrade') }).toEqual({
        status: 426,
        upgrade: 'websocket',
      });
    });
  });

  describe('.../files', () => {
    const files = (path: string, options: object = {}) =>
      fetch(`${gateway.url}/v1/microvms/${id}/files?path=${encodeURIComponent(path)}`, {
        headers: { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/octet-stream' },
        ...options,
      });

    it('GET gives an archive', async () => {
      const response = await files('/etc');
      expect([response.status, response.headers.get('content-type')]).toEqual([200, 'application/x-tar']);
      const names: string[] = [];
      const archive = Readable.fromWeb(response.body as never).pipe(extract());
      for await (const entry of archive) {
        names.push(entry.header.name);
        entry.resume();
      }
      expect(names).toEqual(['hello', 'big']);
      await allEnded();
    });

    it('GET says what is not there, and breaks when the copy does', async () => {
      expect((await files('/missing')).status).toBe(404);
      expect((await files('relative')).status).toBe(422);
      const broken = await files('/broken');
      expect(broken.status).toBe(200);
      await expect(broken.arrayBuffer()).rejects.toThrow();
      const leaving = await files('/etc');
      await leaving.body!.cancel();
      await allEnded();
    });

    it('PUT takes an archive of any size', async () => {
      const response = await files('/srv/', { method: 'PUT', body: Buffer.alloc(3_000_000) });
      expect([response.status, await response.json()]).toEqual([200, { path: '/srv/' }]);
      expect(host.received).toBe(3_000_000);
      expect(host.requests[0]!.open).toEqual({ kind: 'put', path: '/srv/' });
    });

    it('PUT says why it stopped', async () => {
      const response = await files('/full', { method: 'PUT', body: Buffer.alloc(100_000) });
      expect([response.status, ((await response.json()) as { detail: string }).detail]).toEqual([
        409,
        '/full: No space left on device',
      ]);
      await allEnded();
    });

    it.each(['GET', 'PUT'])(
      '%s ends with its client, also when that went while it was being opened',
      async (method) => {
        let open!: () => void;
        host.opening = new Promise((resolve) => (open = resolve));
        const leaving = new AbortController();
        const body = method === 'PUT' ? { body: Buffer.alloc(1_000_000) } : {};
        const answer = files('/broken', { method, signal: leaving.signal, ...body });
        while (host.requests.length === 0) await nc.flush();
        leaving.abort();
        await expect(answer).rejects.toThrow();
        open();
        await allEnded();
      },
    );
  });

  it('end with the gateway', async () => {
    const other = await gatewayUnderTest(server.url);
    const socket = new WebSocket(`${other.url.replace('http', 'ws')}/v1/microvms/${id}/console`, {
      headers: { authorization: `Bearer ${TOKEN}` },
    });
    await once(socket, 'message');
    const closed = once(socket, 'close');
    await other.close();
    expect((await closed)[0]).toBe(1001);
    await allEnded();
  });

  it('end with the gateway, also when they were on their way as it began to go', async () => {
    const other = await gatewayUnderTest(server.url);
    let open!: () => void;
    host.opening = new Promise((resolve) => (open = resolve));
    const body = { command: ['sleep'] };
    const answer = other.request(`/v1/microvms/${id}/exec`, { method: 'POST', body });
    while (host.requests.length === 0) await nc.flush();
    other.shutdown.abort();
    open();
    expect(await answer).toMatchObject({ status: 503, json: { code: 'unavailable' } });
    await other.close();
    await allEnded();
  });
});
