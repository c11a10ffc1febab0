import { describeWithNats } from '../../../../test/support/nats-server';
import { gatewayUnderTest, type GatewayUnderTest } from '../testing/gateway-under-test';
import { HOST_ID, type ScriptedController } from '../testing/scripted-controller';
import { scriptedPlane, type ScriptedPlane } from '../testing/scripted-plane';

const UNKNOWN = '01jaaaaaaaaaaaaaaaaaaaaaaa';
const CANARY = { image: 'canary', memoryMiB: 32 };

describeWithNats('microVMs over REST', () => {
  let plane: ScriptedPlane;
  let controller: ScriptedController;
  let gateway: GatewayUnderTest;

  beforeAll(async () => {
    plane = await scriptedPlane();
    ({ gateway, controller } = plane);
  });
  afterAll(() => plane?.close());
  afterEach(() => {
    Object.assign(controller.script, { start: 'done', pause: 'done', resume: 'done', stop: 'done', erase: 'done' });
    controller.instead.clear();
  });

  const create = (body: object = CANARY, query = '?wait=running', headers = {}) =>
    gateway.request(`/v1/microvms${query}`, { method: 'POST', body, headers });
  const post = (path: string, body?: unknown, headers = {}) =>
    gateway.request(`/v1/microvms/${path}`, { method: 'POST', body, headers });

  describe('create', () => {
    it('answers as soon as it is durable, and can be read at once', async () => {
      controller.script.start = 'hangs';
      const { status, headers, json } = await create({ ...CANARY, name: 'one', labels: { app: 'x' } }, '');
      expect(status).toBe(202);
      expect(headers.get('location')).toBe(`/v1/microvms/${json.id}`);
      expect(json).toMatchObject({ name: 'one', image: 'canary', memoryMiB: 32, vcpus: 1, labels: { app: 'x' } });
      const read = await gateway.request(headers.get('location')!);
      expect(read.status).toBe(200);
      expect(read.json.revision).toBeGreaterThanOrEqual(json.revision);
    });

    it('waits until it runs', async () => {
      const { status, headers, json } = await create();
      expect({ status, state: json.state, hostId: json.hostId }).toEqual({
        status: 201,
        state: 'running',
        hostId: HOST_ID,
      });
      expect(headers.get('location')).toBe(`/v1/microvms/${json.id}`);
      const { requestedAt, acceptedAt, runningAt } = json.timings;
      expect(requestedAt).toBeLessThanOrEqual(acceptedAt + 1);
      expect(acceptedAt).toBeLessThanOrEqual(runningAt);
    });

    it('tells why it does not run', async () => {
      controller.script.start = 'fails';
      const { status, headers, json } = await create();
      expect(status).toBe(409);
      expect(headers.get('content-type')).toMatch(/^application\/problem\+json/);
      expect(json).toMatchObject({ code: 'conflict', microvm: { state: 'failed', reason: 'no /dev/kvm' } });
      expect(json.detail).toMatch(/is failed, not running: no \/dev\/kvm/);
      expect(headers.get('location')).toBe(`/v1/microvms/${json.microvm.id}`);
    });

    it('gives the current view when time is up', async () => {
      controller.script.start = 'hangs';
      const { status, json } = await create(CANARY, '?wait=running&timeout=50ms');
      expect(status).toBe(202);
      expect(['placing', 'starting']).toContain(json.state);
    });

    it('makes one of repeated requests with one key, and refuses the key with another body', async () => {
      const key = { 'idempotency-key': `k-${Date.now()}` };
      const answers = await Promise.all(Array.from({ length: 8 }, () => create(CANARY, '?wait=running', key)));
      expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([201]));
      expect(new Set(answers.map(({ json }) => json.id)).size).toBe(1);
      expect((await create({ ...CANARY, memoryMiB: 64 }, '', key)).status).toBe(409);
    });

    it.each([
      ['no image', {}, 'image'],
      ['no vCPUs', { image: 'canary', vcpus: 0 }, 'vcpus'],
      ['1 PiB', { image: 'canary', memoryMiB: 1024 ** 3 }, 'memoryMiB'],
      ['a wrong type', { image: 'canary', vcpus: '1' }, 'vcpus'],
      ['a fraction', { image: 'canary', vcpus: 1.5 }, 'vcpus'],
      ['an unknown field', { image: 'canary', cpus: 1 }, 'cpus'],
      ['a wrong label', { image: 'canary', labels: { app: 5 } }, 'labels.app'],
      ['a list', [], ''],
      ['null', null, ''],
    ])('refuses %s', async (_, body, path) => {
      const before = controller.requests.length;
      const { status, json } = await create(body as object, '');
      expect(status).toBe(422);
      expect(json.errors).toEqual([{ path, message: expect.any(String) }]);
      expect(controller.requests).toHaveLength(before);
    });

    it.each([
      ['?wait=paused', 'query.wait'],
      ['?timeout=5s', 'query.timeout'],
      ['?wait=running&timeout=5', 'query.timeout'],
      ['?wait=running&timeout=10h', 'query.timeout'],
      ['?dryRun=1', 'query.dryRun'],
      ['?wait=running&wait=running', 'query.wait'],
    ])('refuses the query %s', async (query, path) => {
      const { status, json } = await create(CANARY, query);
      expect(status).toBe(422);
      expect(json.errors.map((error: { path: string }) => error.path)).toEqual([path]);
    });

    it.each(['', 'two words', 'x'.repeat(129), 'caf\u00e9'])('refuses the key %j', async (key) => {
      const { status, json } = await create(CANARY, '', { 'idempotency-key': key });
      expect({ status, path: json.errors[0].path }).toEqual({ status: 422, path: 'header.idempotency-key' });
    });
  });

  describe('commands', () => {
    it('lead through a life', async () => {
      const { id } = (await create()).json;
      const steps: [string, string, number, string][] = [
        ['POST', `${id}/pause?wait=paused`, 200, 'paused'],
        ['POST', `${id}/resume?wait=running`, 200, 'running'],
        ['POST', `${id}/stop?wait=stopped`, 200, 'stopped'],
        ['POST', `${id}/start?wait=running`, 200, 'running'],
        ['POST', `${id}/kill?wait=stopped`, 200, 'stopped'],
        ['DELETE', `${id}?wait=deleted`, 200, 'deleted'],
      ];
      for (const [method, path, status, state] of steps) {
        const answer = await gateway.request(`/v1/microvms/${path}`, { method });
        expect({ path, status: answer.status, state: answer.json.state }).toEqual({ path, status, state });
      }
      expect((await gateway.request(`/v1/microvms/${id}`)).json).toMatchObject({ id, state: 'deleted' });
      const history = await gateway.request(`/v1/microvms/${id}/history`);
      expect(history.json.entries.at(-1)).toMatchObject({ to: 'deleted' });
    });

    it('are answered before they are done', async () => {
      controller.script.pause = 'hangs';
      const { id } = (await create()).json;
      const { status, json } = await post(`${id}/pause`);
      expect({ status, state: json.state }).toEqual({ status: 202, state: 'pausing' });
    });

    it('tell when they were refused on the host', async () => {
      controller.script.pause = 'fails';
      const { id } = (await create()).json;
      const { status, json } = await post(`${id}/pause?wait=paused`);
      expect(status).toBe(409);
      expect(json.microvm).toMatchObject({ state: 'running', reason: 'its VMM does not answer' });
    });

    it.each([undefined, '', {}, ' '])('take the body %j', async (body) => {
      const { id } = (await create()).json;
      const { status } = await post(`${id}/pause`, body);
      expect(status).toBe(body === ' ' ? 400 : 202);
    });

    it('take an empty form, as curl sends it', async () => {
      const { id } = (await create()).json;
      const { status } = await post(`${id}/pause`, '', { 'content-type': 'application/x-www-form-urlencoded' });
      expect(status).toBe(202);
    });

    it('hand over key, time-out and operator', async () => {
      const { id } = (await create()).json;
      await post(`${id}/stop`, { timeoutMs: 7 }, { 'idempotency-key': 'key-of-stop' });
      expect(controller.requests.at(-1)!.request).toEqual({
        id,
        by: 'operator',
        commandId: 'key-of-stop',
        timeoutMs: 7,
      });
    });

    it('refuse what they do not know', async () => {
      const { id } = (await create()).json;
      expect((await post(`${id}/stop`, { timeoutMs: -1 })).json.errors[0].path).toBe('timeoutMs');
      expect((await post(`${id}/pause`, { timeoutMs: 1 })).status).toBe(422);
      expect((await gateway.request(`/v1/microvms/${id}?force=1`, { method: 'DELETE' })).status).toBe(422);
    });

    it('are refused by the wrong state', async () => {
      const { id } = (await create()).json;
      const { status, json } = await post(`${id}/start?wait=running`);
      expect({ status, state: json.state }).toEqual({ status: 200, state: 'running' }); // it is so already
      await post(`${id}/stop?wait=stopped`);
      expect((await post(`${id}/pause`)).status).toBe(409);
    });

    it('give up waiting when the gateway shuts down', async () => {
      const other = await gatewayUnderTest(plane.server.url);
      try {
        controller.script.start = 'hangs';
        const waiting = other.request('/v1/microvms?wait=running&timeout=60s', { method: 'POST', body: CANARY });
        while (!controller.requests.at(-1)?.subject.endsWith('create')) await new Promise(setImmediate);
        await other.nc.flush();
        other.shutdown.abort();
        const { status, headers } = await waiting;
        expect(status).toBe(202);
        expect(headers.get('connection')).toBe('close');
      } finally {
        await other.close();
      }
    });
  });

  describe('delete protection', () => {
    it('refuses a delete, says how to lift it, and is on record', async () => {
      const { id } = (await create({ ...CANARY, deleteProtection: true })).json;
      const refused = await gateway.request(`/v1/microvms/${id}`, { method: 'DELETE' });
      expect(refused.status).toBe(409);
      expect(refused.json.detail).toContain('lift the protection first (volley protect ID off)');

      const lifted = await post(`${id}/protection`, { enabled: false });
      expect([lifted.status, lifted.json.deleteProtection, lifted.json.state]).toEqual([200, false, 'running']);
      const { entries } = (await gateway.request(`/v1/microvms/${id}/history`)).json;
      expect(entries.at(-1).events).toEqual([{ type: 'protectionSet', enabled: false }]);
      const gone = await gateway.request(`/v1/microvms/${id}?wait=deleted`, { method: 'DELETE' });
      expect([gone.status, gone.json.state]).toEqual([200, 'deleted']);
      expect((await post(`${id}/protection`, { enabled: true })).status).toBe(409);
    });

    it('refuses a malformed change', async () => {
      const { id } = (await create()).json;
      expect((await post(`${id}/protection`, { enabled: 'yes' })).status).toBe(422);
      expect((await post(`${UNKNOWN}/protection`, { enabled: true })).status).toBe(404);
    });
  });

  describe('reads', () => {
    it.each(['get', 'history', 'placement', 'log'])('answer 404 to %s of what never was', async (what) => {
      const suffix = what === 'get' ? '' : `/${what}`;
      for (const id of [UNKNOWN, 'nonsense', 'a'.repeat(500), '..%2f..%2fetc']) {
        const { status, json } = await gateway.request(`/v1/microvms/${id}${suffix}`);
        expect({ status, code: json.code }).toEqual({ status: 404, code: 'notFound' });
      }
    });

    it('page through a filtered list', async () => {
      const tenant = `t${Date.now()}`;
      const ids: string[] = [];
      for (let i = 0; i < 5; i++) {
        ids.push((await create({ ...CANARY, tenant, labels: { even: String(i % 2 === 0), n: `${i}` } })).json.id);
      }
      const seen: string[] = [];
      let cursor: string | null = null;
      do {
        const { json }: { json: { items: { id: string }[]; nextCursor: string | null } } = await gateway.request(
          `/v1/microvms?tenant=${tenant}&limit=2${cursor === null ? '' : `&cursor=${cursor}`}`,
        );
        expect(json.items.length).toBeLessThanOrEqual(2);
        seen.push(...json.items.map(({ id }) => id));
        cursor = json.nextCursor;
      } while (cursor !== null);
      expect(seen).toEqual(ids.toSorted());

      const idsOf = async (query: string) =>
        (await gateway.request(`/v1/microvms?tenant=${tenant}&${query}`)).json.items.map(
          ({ id }: { id: string }) => id,
        );
      expect(await idsOf('label=even=true')).toHaveLength(3);
      expect(await idsOf('label=even=true&label=n=2')).toEqual([ids[2]]);
      expect(await idsOf(`host=${HOST_ID}&image=canary&state=running`)).toHaveLength(5);
      expect(await idsOf('host=other')).toEqual([]);
      await gateway.request(`/v1/microvms/${ids[0]}?wait=deleted`, { method: 'DELETE' });
      expect(await idsOf('limit=10')).toHaveLength(4);
      expect(await idsOf('state=deleted')).toEqual([ids[0]]);
    });

    it.each([
      ['limit=0', 'query.limit'],
      ['limit=1001', 'query.limit'],
      ['state=sleeping', 'query.state.0'],
      ['label=novalue', 'query.label.0'],
      ['label=a=1&label=a=2', 'query.label'],
      ['cursor=zzz', 'query.cursor'],
      ['sort=name', 'query.sort'],
    ])('refuse the filter %s', async (query, path) => {
      const { status, json } = await gateway.request(`/v1/microvms?${query}`);
      expect({ status, path: json.errors[0].path }).toEqual({ status: 422, path });
    });

    it('tell the history as of an instant', async () => {
      const { id, createdAt } = (await create()).json;
      const before = await gateway.request(`/v1/microvms/${id}/history?at=${Date.parse(createdAt) - 1}`);
      expect(before.json).toEqual({ id, entries: [], microvm: null });
      const then = await gateway.request(
        `/v1/microvms/${id}/history?at=${new Date(Date.now() + 60_000).toISOString()}`,
      );
      expect(then.json.microvm.state).toBe('running');
      expect((await gateway.request(`/v1/microvms/${id}/history?at=yesterday`)).json.errors[0].path).toBe('query.at');
    });

    it('give the serial console as text, or as JSON with positions', async () => {
      const { id } = (await create()).json;
      const plain = await gateway.request(`/v1/microvms/${id}/log`);
      expect(plain.headers.get('content-type')).toBe('text/plain; charset=utf-8');
      expect(plain.text).toBe('canary: up\ncanary: bye\n');
      const to = plain.headers.get('volley-log-to')!;
      const json = await gateway.request(`/v1/microvms/${id}/log?since=11`, {
        headers: { accept: 'application/json' },
      });
      expect(json.json).toEqual({ text: 'canary: bye\n', from: 11, to: Number(to) });
      expect((await gateway.request(`/v1/microvms/${id}/log?since=-1`)).status).toBe(422);
    });

    it('give receipts', async () => {
      const { id } = (await create()).json;
      expect((await gateway.request(`/v1/microvms/${id}/placement`)).json).toEqual({ receipts: [] });
    });

    it('are answered from the histories when the controller is away', async () => {
      const { id } = (await create()).json;
      await controller.pause();
      try {
        expect((await gateway.request(`/v1/microvms/${id}`)).status).toBe(200);
        expect((await gateway.request('/v1/microvms?limit=1')).status).toBe(200);
        const { status, headers, json } = await create(CANARY, '');
        expect({ status, code: json.code, retry: headers.get('retry-after') }).toEqual({
          status: 503,
          code: 'unavailable',
          retry: '1',
        });
        expect((await gateway.request(`/v1/microvms/${UNKNOWN}`)).status).toBe(503);
      } finally {
        await controller.resume();
      }
    });

    it('say so when there is no answer in time', async () => {
      controller.instead.set('volley.v1.microvm.get', () => new Promise(() => undefined));
      const { status, json } = await gateway.request(`/v1/microvms/${UNKNOWN}`);
      expect({ status, code: json.code }).toEqual({ status: 504, code: 'timeout' });
    });

    it('do not pass on a reply that is not what was promised', async () => {
      controller.instead.set('volley.v1.microvm.get', () => ({ microvm: { id: UNKNOWN, secret: 1 } }));
      const { status, json } = await gateway.request(`/v1/microvms/${UNKNOWN}`);
      expect({ status, code: json.code }).toEqual({ status: 500, code: 'internal' });
    });
  });
});
