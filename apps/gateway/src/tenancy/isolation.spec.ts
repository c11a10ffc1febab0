import { request as httpRequest } from 'node:http';
import type { NatsConnection } from 'nats';
import { connectNats } from '#bus';
import { Microvm, MicrovmEvent, placementOf, type Receipt } from '#protocol';
import { AUDIENCES, may, type Audience } from '#tenancy';
import { describeWithNats, startNatsServer, type NatsServer } from '../../../../test/support/nats-server';
import type { RouteDefinition } from '../http/route';
import { ROUTES } from '../routes';
import {
  gatewayUnderTest,
  type Answer,
  type GatewayUnderTest,
  type RequestOptions,
} from '../testing/gateway-under-test';
import { HOST_ID, ScriptedController } from '../testing/scripted-controller';
import { ScriptedImages } from '../testing/scripted-images';
import { ScriptedSessions } from '../testing/scripted-sessions';
import { SseClient } from '../testing/sse-client';
import { EVENT_FIELDS, OWN_FIELDS, REDUCED_FIELDS } from './tenant-view';

jest.setTimeout(60_000);

const NOBODY = '01hzzzzzzzzzzzzzzzzzzzzzzz';
/** What a route needs besides its path, where nothing is not enough. */
const BODIES: Record<string, unknown> = {
  runInMicrovm: { command: ['echo', 'hello'] },
  tuneMicrovm: { kind: 'ctrlAltDel' },
  setMicrovmProtection: { enabled: true },
};
const QUERIES: Record<string, string> = { getFilesOfMicrovm: '?path=/x', putFilesOfMicrovm: '?path=/x' };
/** Words of hosts and of the other tenant that the tenant under test must never read. */
const SECRETS = ['rival', 'secret-name', 'secret-label', HOST_ID, 'a.example', '4242', '31337'];

type Kind = 'admin' | 'user' | 'reader';
const ROLE_OF = { admin: 'tenant-admin', user: 'tenant-user', reader: 'read-only' } as const;

describeWithNats('tenants', () => {
  let server: NatsServer;
  let nc: NatsConnection;
  let controller: ScriptedController;
  let images: ScriptedImages;
  let sessions: ScriptedSessions;
  let gateway: GatewayUnderTest;
  const secrets = {} as Record<Kind, string>;
  const ids = {} as Record<Kind, string>;
  let theirToken: string;
  let own: Microvm;
  let theirs: Microvm;
  let theirDeleted: Microvm;
  /** Everything that the tenant under test was ever told, but for what it said itself. */
  const told: string[] = [];

  beforeAll(async () => {
    server = await startNatsServer();
    nc = await connectNats({ servers: server.url, name: 'scripted' });
    controller = await ScriptedController.start(nc);
    controller.instead.set(placementOf.subject, ({ microvmId }: { microvmId: string }) => ({
      receipts: [receiptOf(microvmId)],
    }));
    images = await ScriptedImages.start(nc);
    sessions = await ScriptedSessions.start(nc);
    gateway = await gatewayUnderTest(server.url);
    for (const tenant of ['acme', 'rival']) await operator(`/v1/tenants/${tenant}`, { method: 'PUT', body: {} });
    for (const kind of ['admin', 'user', 'reader'] as const) {
      const body = { name: `acme-${kind}`, role: ROLE_OF[kind], tenant: 'acme' };
      const { token, secret } = (await operator('/v1/tokens', { method: 'POST', body })).json;
      secrets[kind] = secret;
      ids[kind] = token.id;
    }
    const body = { name: 'rival-admin', role: 'tenant-admin', tenant: 'rival' };
    theirToken = (await operator('/v1/tokens', { method: 'POST', body })).json.token.id;
    const create = async (spec: object, token?: string): Promise<Microvm> =>
      (
        await gateway.request('/v1/microvms?wait=running', {
          method: 'POST',
          body: { image: 'canary', ...spec },
          ...(token === undefined ? {} : { token }),
        })
      ).json;
    const secret = { tenant: 'rival', name: 'secret-name', labels: { team: 'secret-label' } };
    theirs = await create(secret);
    theirDeleted = await create(secret);
    await operator(`/v1/microvms/${theirDeleted.id}?wait=deleted`, { method: 'DELETE' });
    own = await create({ name: 'mine', labels: { team: 'ours' } }, secrets.user);
  });
  afterAll(async () => {
    await gateway?.close();
    await images?.stop();
    await sessions?.stop();
    await nc?.close();
    await server?.stop();
  });

  const operator = (path: string, options?: RequestOptions): Promise<Answer> => gateway.request(path, options);

  /** As the tenant under test. What comes back is kept, without what was sent. */
  async function as(kind: Kind, path: string, options: RequestOptions = {}): Promise<Answer> {
    const answer = await gateway.request(path, { ...options, token: secrets[kind] });
    const said = [...path.split(/[/?&=,]/), ...JSON.stringify(options.body ?? '').split('"')].filter(
      (word) => word.length > 3,
    );
    let text = `${answer.text}\n${[...answer.headers].join('\n')}`;
    for (const word of said) text = text.replaceAll(decodeURIComponent(word), 'SAID');
    told.push(text);
    return answer;
  }

  const kindsFor = (audience: Audience): Kind[] =>
    (['admin', 'user', 'reader'] as const).filter((kind) => may({ role: ROLE_OF[kind], tenant: 'acme' }, audience));
  const audienceOf = ({ access }: RouteDefinition): Audience | undefined =>
    AUDIENCES.find((audience) => audience === access) ?? (access === 'metrics' ? 'fleet' : undefined);
  const optionsOf = ({ name, method, upload }: RouteDefinition): RequestOptions => ({
    method,
    ...(BODIES[name] === undefined ? {} : { body: BODIES[name] }),
    ...(upload === undefined ? {} : { body: 'a file', headers: { 'content-type': 'application/octet-stream' } }),
  });
  const pathOf = ({ name, path }: RouteDefinition, id: string): string =>
    path.replace('{id}', id) + (QUERIES[name] ?? '');
  /** What two answers may differ in: ids and the time. */
  const plain = ({ status, text, headers }: Pick<Answer, 'status' | 'text' | 'headers'>, id: string) => ({
    status,
    text: text.replaceAll(id, 'ID'),
    headers: [...headers].filter(([name]) => !['date', 'content-length', 'connection', 'keep-alive'].includes(name)),
  });

  /** Tries on routes that are not about one microVM. Every one that a tenant may use needs some. */
  const ATTACKS: Record<string, () => Promise<void>> = {
    createMicrovm: async () => {
      const refusals = await Promise.all(
        ['rival', 'unheard-of'].map((tenant) =>
          as('user', '/v1/microvms', { method: 'POST', body: { image: 'canary', tenant } }),
        ),
      );
      expect(refusals.map(({ status }) => status)).toEqual([403, 403]);
      expect(refusals[0]!.text).toBe(refusals[1]!.text);
      const made = await as('user', '/v1/microvms', { method: 'POST', body: { image: 'canary' } });
      expect(made.json.tenant).toBe('acme');
      const heavy = (cpuWeight: number) =>
        as('user', '/v1/microvms', { method: 'POST', body: { image: 'canary', vcpus: 2, limits: { cpuWeight } } });
      expect((await heavy(201)).status).toBe(403);
      expect((await heavy(200)).status).toBe(202);
    },
    listMicrovms: () => listAttack('/v1/microvms', (item) => item),
    listMicrovmDensity: () => listAttack('/v1/density/microvms', ({ microvm }) => microvm),
    followEvents: async () => {
      const { id: theirGroupId } = (await theirGroup()).json;
      for (const query of [
        '',
        `?microvm=${theirs.id}`,
        `?microvm=${own.id}`,
        `?microvm=${theirDeleted.id}`,
        `?group=${theirGroupId}`,
      ]) {
        const stream = await SseClient.open(`${gateway.url}/v1/events${query}`, secrets.reader, '0.0.0');
        const live = await SseClient.open(`${gateway.url}/v1/events${query}`, secrets.reader);
        // What is others' is not told, so its end cannot be awaited; what is its own comes after it.
        await operator(`/v1/groups/${theirGroupId}/scale`, {
          method: 'POST',
          body: { replicas: 2 + (told.length % 7) },
        });
        await operator(`/v1/microvms/${theirs.id}/pause?wait=paused`, { method: 'POST' });
        await operator(`/v1/microvms/${theirs.id}/resume?wait=running`, { method: 'POST' });
        await as('user', `/v1/microvms/${own.id}/pause?wait=paused`, { method: 'POST' });
        await as('user', `/v1/microvms/${own.id}/resume?wait=running`, { method: 'POST' });
        if (query === '' || query.includes(own.id)) {
          const resumed = ({ events }: SseClient) =>
            events.some(
              ({ data }) =>
                data.record?.microvmId === own.id && data.record.to === 'running' && data.record.from === 'resuming',
            );
          await Promise.all([stream.until(resumed), live.until(resumed)]);
        }
        for (const { type, data } of [...stream.events, ...live.events]) {
          expect(['microvm', 'group']).toContain(type);
          expect((data.microvm ?? data.group).tenant).toBe('acme');
        }
        if ([theirs.id, theirDeleted.id, theirGroupId].some((id) => query.includes(id)))
          expect([...stream.events, ...live.events]).toEqual([]);
        told.push(stream.text, live.text);
        await Promise.all([stream.close(), live.close()]);
      }
    },
    getTenant: async () => {
      const [one, other] = await Promise.all(['rival', 'unheard-of'].map((id) => as('admin', `/v1/tenants/${id}`)));
      expect([one!.status, other!.status]).toEqual([403, 403]);
      expect(plain(one!, 'rival')).toEqual(plain(other!, 'unheard-of'));
      expect((await as('reader', '/v1/tenants/acme')).json).toMatchObject({ id: 'acme', quotas: {} });
    },
    getTenantDensity: async () => {
      const path = (id: string) => `/v1/tenants/${id}/density`;
      const [one, other] = await Promise.all(['rival', 'unheard-of'].map((id) => as('admin', path(id))));
      expect([one!.status, other!.status]).toEqual([403, 403]);
      expect(plain(one!, 'rival')).toEqual(plain(other!, 'unheard-of'));
      expect((await as('reader', path('acme'))).json).toMatchObject({ tenant: { tenant: 'acme' } });
    },
    createToken: async () => {
      const make = (body: object) => as('admin', '/v1/tokens', { method: 'POST', body: { name: 'x', ...body } });
      const [one, other] = [
        await make({ role: 'tenant-user', tenant: 'rival' }),
        await make({ role: 'tenant-user', tenant: 'unheard-of' }),
      ];
      expect([one.status, other.status]).toEqual([403, 403]);
      expect(one.text).toBe(other.text);
      expect((await make({ role: 'operator' })).status).toBe(403);
      expect((await make({ role: 'tenant-user', name: 'operator' })).status).toBe(422);
      const { token, secret } = (await make({ role: 'read-only' })).json;
      expect(token).toMatchObject({ tenant: 'acme', role: 'read-only' });
      expect((await gateway.request('/v1/hosts', { token: secret })).status).toBe(403);
    },
    listTokens: async () => {
      const { items } = (await as('admin', '/v1/tokens')).json;
      expect(
        items.map(({ tenant }: { tenant: string }) => tenant).filter((tenant: string) => tenant !== 'acme'),
      ).toEqual([]);
      expect((await as('admin', '/v1/tokens?tenant=rival')).status).toBe(403);
    },
    createGroup: async () => {
      const make = (tenant: string) => {
        const body = { name: 'x', replicas: 1, spec: { image: 'canary', tenant } };
        return as('user', '/v1/groups', { method: 'POST', body });
      };
      const [one, other] = [await make('rival'), await make('unheard-of')];
      expect([one.status, other.status]).toEqual([403, 403]);
      expect(one.text).toBe(other.text);
    },
    listGroups: async () => {
      await theirGroup();
      expect((await as('reader', '/v1/groups')).json).toEqual({ items: [] });
      expect((await as('reader', '/v1/groups?tenant=rival')).status).toBe(403);
    },
    getGroup: () => groupAttack('GET', ''),
    getGroupHistory: () => groupAttack('GET', '/history'),
    scaleGroup: () => groupAttack('POST', '/scale', { replicas: 0 }),
    replaceGroupSpec: () => groupAttack('PUT', '/spec', { spec: { image: 'canary' } }),
    deleteGroup: () => groupAttack('DELETE', ''),
    createTemplate: async () => {
      const make = (microvmId: string) => as('user', '/v1/templates', { method: 'POST', body: { microvmId } });
      const [one, other] = [await make(theirs.id), await make(NOBODY)];
      expect([one.status, other.status]).toEqual([404, 404]);
      expect(plain(one, theirs.id)).toEqual(plain(other, NOBODY));
      const mine = (await make(own.id)).json;
      expect([mine.tenant, mine.platform]).toEqual(['acme', null]);
      expect((await as('user', `/v1/templates/${mine.id}`, { method: 'DELETE' })).status).toBe(200);
    },
    listTemplates: async () => {
      await theirTemplate();
      expect((await as('reader', '/v1/templates')).json).toEqual({ items: [] });
      expect((await as('reader', '/v1/templates?tenant=rival')).status).toBe(403);
    },
    getTemplate: () => templateAttack('GET', ''),
    setTemplatePool: () => templateAttack('PUT', '/pool', { max: 3 }),
    deleteTemplate: () => templateAttack('DELETE', ''),
    revokeToken: () => tokenAttack('DELETE', ''),
    rotateToken: () => tokenAttack('POST', '/rotate'),
    // Not kept: it holds what the tenant said itself.
    listAudit: async () => {
      const audit = (query: string) => gateway.request(`/v1/audit?${query}`, { token: secrets.admin });
      const { items } = (await audit('limit=1000')).json;
      expect(items.length).toBeGreaterThan(0);
      expect(items.filter(({ tenant }: { tenant: string | null }) => tenant !== 'acme')).toEqual([]);
      const [one, other] = [await audit('tenant=rival'), await audit('tenant=unheard-of')];
      expect([one.status, other.status]).toEqual([403, 403]);
      expect(one.text).toBe(other.text);
      expect((await audit(`token=${theirToken}`)).json.items).toEqual([]);
    },
    // Images are the fleet's: all tenants run the same.
    listImages: async () => expect((await as('reader', '/v1/images')).status).toBe(200),
    getImage: async () => expect((await as('reader', '/v1/images/nothing')).status).toBe(404),
  };

  /** A list of microVMs, or of what is told of each. */
  async function listAttack(path: string, microvmOf: (item: Microvm & { microvm: Microvm }) => Microvm): Promise<void> {
    const list = (query: string) => as('reader', `${path}${query}`);
    for (const query of [
      '',
      '?state=running&state=deleted',
      '?name=secret-name',
      '?label=team%3Dsecret-label',
      `?host=${HOST_ID}`,
      `?cursor=${theirs.id}`,
      '?image=canary',
      '?limit=1',
    ]) {
      const { status, json } = await list(query);
      expect(status).toBe(200);
      for (const item of json.items) expect(microvmOf(item)).toMatchObject({ tenant: 'acme', pid: null });
      if (/secret|host=/.test(query)) expect(json).toEqual({ items: [], nextCursor: null });
    }
    const [one, other] = [await list('?tenant=rival'), await list('?tenant=unheard-of')];
    expect([one.status, other.status]).toEqual([403, 403]);
    expect(one.text).toBe(other.text);
    const mine = microvmOf((await list('?name=mine')).json.items[0]);
    expect(mine).toMatchObject({ id: own.id, hostId: expect.stringMatching(/^h-[0-9a-z]{12}$/) });
    expect((await list(`?host=${mine.hostId}`)).json.items.map((item: never) => microvmOf(item).id)).toContain(own.id);
  }

  const theirGroup = (): Promise<Answer> => {
    const spec = { image: 'canary', tenant: 'rival', labels: { team: 'secret-label' } };
    return operator('/v1/groups', { method: 'POST', body: { name: 'secret-name', replicas: 2, spec } });
  };

  const theirTemplate = (): Promise<Answer> =>
    operator('/v1/templates', { method: 'POST', body: { microvmId: theirs.id, name: 'secret-name' } });

  async function templateAttack(method: string, below: string, body?: object): Promise<void> {
    const { id } = (await theirTemplate()).json;
    const before = (await operator(`/v1/templates/${id}`)).text;
    const [one, other] = await Promise.all(
      [id, NOBODY].map(async (asked) => {
        const given = body === undefined ? {} : { body };
        return plain(await as('user', `/v1/templates/${asked}${below}`, { method, ...given }), asked);
      }),
    );
    expect(one!.status).toBe(404);
    expect(one).toEqual(other);
    expect((await operator(`/v1/templates/${id}`)).text).toBe(before);
  }

  async function groupAttack(method: string, below: string, body?: object): Promise<void> {
    const before = (await theirGroup()).text;
    const [one, other] = await Promise.all(
      ['rival_secret-name', 'rival_nobody'].map(async (id) => {
        const given = body === undefined ? {} : { body };
        return plain(await as('user', `/v1/groups/${id}${below}`, { method, ...given }), id);
      }),
    );
    expect(one!.status).toBe(404);
    expect(one).toEqual(other);
    expect((await theirGroup()).text).toBe(before);
  }

  async function tokenAttack(method: string, below: string): Promise<void> {
    const [one, other] = await Promise.all(
      [theirToken, NOBODY].map((id) => as('admin', `/v1/tokens/${id}${below}`, { method })),
    );
    expect([one!.status, other!.status]).toEqual([404, 404]);
    expect(plain(one!, theirToken)).toEqual(plain(other!, NOBODY));
  }

  const isAboutOne = ({ path }: RouteDefinition): boolean => path.startsWith('/v1/microvms/{id}');
  const named = (routes: readonly RouteDefinition[]) =>
    routes.map((route) => [`${route.method} ${route.path}`, route] as const);
  const forTenants = ROUTES.filter((route) => {
    const audience = audienceOf(route);
    return audience !== undefined && kindsFor(audience).length > 0;
  });

  it('are let nowhere without a token but where nothing is told of anybody', () => {
    const open = ROUTES.filter((route) => audienceOf(route) === undefined).map(({ path }) => path);
    expect(open.sort()).toEqual(['/', '/assets/{file}', '/favicon.svg', '/healthz', '/openapi.json', '/readyz']);
  });

  it.each(named(ROUTES.filter((route) => audienceOf(route) !== undefined)))(
    'of a role that %s is not for are refused it, whatever it is asked for',
    async (_name, route) => {
      const audience = audienceOf(route)!;
      const allowed = kindsFor(audience);
      for (const kind of (['admin', 'user', 'reader'] as const).filter((one) => !allowed.includes(one))) {
        const answers = await Promise.all(
          [theirs.id, NOBODY].map(async (id) => {
            const answer = await as(kind, route.path.replace(/\{\w+\}/g, id), optionsOf(route));
            return plain(answer, id);
          }),
        );
        expect(answers[0]!.status).toBe(403);
        expect(answers[0]).toEqual(answers[1]);
      }
    },
  );

  it.each(named(forTenants.filter(isAboutOne)))(
    "get the same answer of %s for what is another's and for what is not there",
    async (_name, route) => {
      for (const kind of kindsFor(audienceOf(route)!)) {
        const ask = async (id: string) => plain(await as(kind, pathOf(route, id), optionsOf(route)), id);
        const nobody = await ask(NOBODY);
        expect([404, 426]).toContain(nobody.status);
        expect(await ask(theirs.id)).toEqual(nobody);
        expect(await ask(theirDeleted.id)).toEqual(nobody);
        // Not in the way in which it fails either.
        await controller.pause();
        expect(await ask(theirs.id)).toEqual(await ask(NOBODY));
        await controller.resume();
      }
    },
  );

  it.each(named(forTenants.filter(isAboutOne).filter(({ responses }) => responses[101] !== undefined)))(
    "get the same answer of the WebSocket %s for what is another's and for what is not there",
    async (_name, route) => {
      const ask = async (id: string) => plain(await upgrade(route.path.replace('{id}', id), secrets.user), id);
      const nobody = await ask(NOBODY);
      expect(nobody.status).toBe(404);
      expect(await ask(theirs.id)).toEqual(nobody);
      expect(await ask(theirDeleted.id)).toEqual(nobody);
      expect((await upgrade(route.path.replace('{id}', own.id), secrets.reader)).status).toBe(403);
      expect((await upgrade(route.path.replace('{id}', own.id), secrets.user)).status).toBe(101);
    },
  );

  it.each(named(forTenants.filter((route) => !isAboutOne(route))))(
    'learn nothing of others from %s',
    async (_name, route) => {
      const attack = ATTACKS[route.name];
      if (!attack)
        throw new Error(`${route.name} is for tenants: write here how it is tried for another tenant's things`);
      await attack();
    },
  );

  it('see their own, without a word of hosts or of others', async () => {
    const exit = { reason: 'vmmError' as const, message: `no /dev/kvm on ${HOST_ID}: 31337 MiB free`, at: Date.now() };
    const [one] = [
      await as('user', '/v1/microvms?wait=running', { method: 'POST', body: { image: 'canary', name: 'ends' } }),
    ];
    const { id, epoch } = one!.json;
    await controller.happens(id, [{ type: 'exited', hostId: HOST_ID, epoch, exit }]);
    await as('reader', `/v1/microvms/${id}`);
    for (const microvm of [own.id, id]) {
      for (const below of ['', '/history', '/history?at=2100-01-01T00:00:00Z', '/placement', '/log'])
        expect((await as('reader', `/v1/microvms/${microvm}${below}`)).status).toBe(200);
    }
    expect((await as('reader', `/v1/microvms/${id}`)).json).toMatchObject({
      pid: null,
      reason: 'its host could not go on with it',
      exit: { reason: 'vmmError', message: 'its host could not go on with it' },
    });
    const { entries } = (await as('reader', `/v1/microvms/${own.id}/history`)).json;
    expect(entries[0]).toMatchObject({ cause: { kind: 'operator', by: 'operator' } }); // as the scripted controller writes it
    const alias = (await as('reader', `/v1/microvms/${own.id}`)).json.hostId;
    expect((await as('reader', `/v1/microvms/${own.id}/placement`)).json.receipts).toEqual([
      expect.objectContaining({
        hostId: alias,
        reason: 'placed',
        hosts: [{ hostId: alias, verdict: 'chosen', filters: [], scores: [], total: null }],
      }),
    ]);
    const run = await as('user', `/v1/microvms/${own.id}/exec`, { method: 'POST', body: BODIES['runInMicrovm'] });
    expect(run.json).toMatchObject({ exitCode: 0, stdout: 'hello\n' });
    // A host that does not answer is not named in the error.
    await sessions.stop();
    const away = await as('user', `/v1/microvms/${own.id}/exec`, { method: 'POST', body: BODIES['runInMicrovm'] });
    expect(away.status).toBe(503);
    expect(away.json.detail).toBe('A part of the fleet does not answer; nothing was done. Try again.');
    const missed = await as('user', `/v1/microvms/${id}/start?wait=running`, { method: 'POST' });
    expect(missed.status).toBe(200);
    controller.script.start = 'fails';
    await as('user', `/v1/microvms/${id}/kill?wait=stopped`, { method: 'POST' });
    const failed = await as('user', `/v1/microvms/${id}/start?wait=running`, { method: 'POST' });
    controller.script.start = 'done';
    expect(failed).toMatchObject({ status: 409, json: { microvm: { hostId: alias, pid: null } } });
  });

  // Last: looks at everything that was answered before.
  it('never read a word of what is secret', () => {
    expect(told.length).toBeGreaterThan(100);
    const all = told.join('\n');
    for (const secret of [...SECRETS, theirs.id, theirDeleted.id, theirToken]) {
      const at = all.indexOf(secret);
      expect(at < 0 ? '' : all.slice(Math.max(0, at - 300), at + 100)).toBe('');
    }
  });

  it('are told every field and event that there is in words that were chosen for them', () => {
    expect([...OWN_FIELDS, ...REDUCED_FIELDS].sort()).toEqual(Object.keys(Microvm.shape).sort());
    const types = MicrovmEvent.options.map((option) => option.shape.type.value);
    expect(Object.keys(EVENT_FIELDS).sort()).toEqual([...types].sort());
  });

  /** Asks for a WebSocket; what is answered, and the end of it. */
  function upgrade(path: string, token: string): Promise<Pick<Answer, 'status' | 'text' | 'headers'>> {
    return new Promise((resolve, reject) => {
      const request = httpRequest(gateway.url + path, {
        headers: {
          authorization: `Bearer ${token}`,
          connection: 'Upgrade',
          upgrade: 'websocket',
          'sec-websocket-version': '13',
          'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==',
        },
      });
      request.on('error', reject);
      request.on('upgrade', (response, socket) => {
        socket.destroy();
        resolve({ status: response.statusCode!, text: '', headers: new Headers() });
      });
      request.on('response', (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
        response.on('end', () => {
          told.push(text.replaceAll(path.split('/')[3]!, 'SAID'));
          const headers = new Headers(response.headers as Record<string, string>);
          resolve({ status: response.statusCode!, text, headers });
        });
      });
      request.end();
    });
  }
});

function receiptOf(microvmId: string): Receipt {
  return {
    id: '17.0',
    microvmId,
    epoch: 1,
    at: 1,
    demand: { image: 'canary', vcpus: 1, memoryMiB: 32, tenant: 'acme', excluded: [HOST_ID] },
    hostId: HOST_ID,
    reason: `${HOST_ID} has 31337 MiB free`,
    hosts: [
      {
        hostId: HOST_ID,
        verdict: 'chosen',
        filters: [{ name: 'memory', passed: true, detail: '31337 MiB free, rival has the rest' }],
        scores: [{ name: 'free', value: 31337, weight: 1 }],
        total: 31337,
      },
      { hostId: 'host-b', verdict: 'filtered', filters: [], scores: [], total: null },
    ],
    omitted: 1,
  };
}
