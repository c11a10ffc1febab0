import { once } from 'node:events';
import type { NatsConnection } from 'nats';
import { WebSocket } from 'ws';
import { connectNats } from '#bus';
import type { AuditEntry, Token } from '#protocol';
import { describeWithNats, startNatsServer, type NatsServer } from '../../../../test/support/nats-server';
import { ROUTES } from '../routes';
import { gatewayUnderTest, TOKEN, type GatewayUnderTest, type RequestOptions } from '../testing/gateway-under-test';
import { ScriptedController } from '../testing/scripted-controller';
import { ScriptedSessions } from '../testing/scripted-sessions';
import { SseClient } from '../testing/sse-client';

jest.setTimeout(60_000);

const NOBODY = '01hzzzzzzzzzzzzzzzzzzzzzzz';

describeWithNats('tokens', () => {
  let server: NatsServer;
  let nc: NatsConnection;
  let controller: ScriptedController;
  let sessions: ScriptedSessions;
  let gateway: GatewayUnderTest;

  beforeAll(async () => {
    server = await startNatsServer();
    nc = await connectNats({ servers: server.url, name: 'scripted' });
    controller = await ScriptedController.start(nc);
    sessions = await ScriptedSessions.start(nc);
    gateway = await gatewayUnderTest(server.url);
    await call('/v1/tenants/acme', { method: 'PUT', body: {} });
  });
  afterAll(async () => {
    await gateway?.close();
    await sessions?.stop();
    await controller?.pause();
    await nc?.close();
    await server?.stop();
  });

  const call = (path: string, options?: RequestOptions) => gateway.request(path, options);
  const make = async (body: object = {}): Promise<{ token: Token; secret: string }> => {
    const wish = { name: 'ci', role: 'tenant-user', tenant: 'acme', ...body };
    const { status, json } = await call('/v1/tokens', { method: 'POST', body: wish });
    expect(status).toBe(201);
    return json;
  };
  const revoke = (id: string) => call(`/v1/tokens/${id}`, { method: 'DELETE' });
  /** Of what was written down about a token, once there is as much as that. */
  async function audited(query: string, least: number): Promise<AuditEntry[]> {
    for (;;) {
      const { items } = (await call(`/v1/audit?limit=1000&${query}`)).json as { items: AuditEntry[] };
      if (items.length >= least) return items;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  it('that are missing, unknown, revoked, rotated or expired are refused on every route in the same words, and audited', async () => {
    const [revoked, rotated, expired] = await Promise.all([make(), make({ name: 'rotated' }), make({ name: 'late' })]);
    await revoke(revoked.token.id);
    const next = await call(`/v1/tokens/${rotated.token.id}/rotate`, { method: 'POST' });
    expect(next.status).toBe(201);
    // Grace that is over: the way in which a token expires, without waiting for it.
    await call(`/v1/tokens/${expired.token.id}/rotate`, { method: 'POST', body: { graceSeconds: 1 } });
    while ((await call('/v1/microvms', { token: expired.secret })).status === 200)
      await new Promise((resolve) => setTimeout(resolve, 50));

    const routes = ROUTES.filter(({ access }) => access !== 'open');
    const refused = [revoked, rotated, expired];
    for (const { method, path } of routes) {
      const asked = path.replace(/\{\w+\}/g, NOBODY);
      const answers = await Promise.all(
        ['wrong-token-that-nobody-has', ...refused.map(({ secret }) => secret)].map((token) =>
          call(asked, { method, token }),
        ),
      );
      for (const { status, text, headers } of answers) {
        expect(status).toBe(401);
        expect(headers.get('www-authenticate')).toContain('invalid_token');
        expect(text).toBe(answers[0]!.text);
      }
      expect((await call(asked, { method, token: null })).status).toBe(401);
    }
    for (const [{ token }, why] of [
      [revoked, 'the token is revoked'],
      [rotated, 'the token is revoked'],
      [expired, 'the token is expired'],
    ] as const) {
      const entries = await audited(`token=${token.id}&event=refusedAuthentication`, routes.length);
      const last = entries.slice(-routes.length);
      expect(last.map(({ method, route }) => `${method} ${route}`).sort()).toEqual(
        routes.map(({ method, path }) => `${method} ${path}`).sort(),
      );
      for (const entry of last)
        expect(entry).toMatchObject({
          tenant: 'acme',
          role: 'tenant-user',
          status: 401,
          code: 'unauthorized',
          detail: why,
          address: '127.0.0.1',
        });
    }
    const strangers = await audited('event=refusedAuthentication', 10);
    expect(strangers.some(({ tokenId, detail }) => tokenId === null && detail === 'the token is unknown')).toBe(true);
    expect(strangers.some(({ tokenId, detail }) => tokenId === null && detail === 'no token was presented')).toBe(true);
  });

  it('of the wrong role are refused with 403, and audited with their name and what they asked for', async () => {
    const { token, secret } = await make({ name: 'curious' });
    expect((await call('/v1/hosts/host-a/cordon', { method: 'POST', token: secret })).status).toBe(403);
    const [entry] = await audited(`token=${token.id}&status=400`, 1);
    expect(entry).toMatchObject({
      event: 'call',
      name: 'curious',
      role: 'tenant-user',
      tenant: 'acme',
      method: 'POST',
      route: '/v1/hosts/{id}/cordon',
      ids: { id: 'host-a' },
      status: 403,
      code: 'forbidden',
    });
  });

  it('leave their name, and no secret, in histories and in the audit', async () => {
    const { token, secret } = await make({ name: 'builder' });
    const created = await call('/v1/microvms?wait=running', {
      method: 'POST',
      body: { image: 'canary' },
      token: secret,
    });
    expect(created.status).toBe(201);
    expect(controller.requests.findLast(({ subject }) => subject.endsWith('.create'))!.request).toMatchObject({
      by: 'builder',
      spec: { tenant: 'acme' },
    });
    const entries = await audited(`token=${token.id}`, 1);
    expect(entries[0]).toMatchObject({ route: '/v1/microvms', status: 201, ids: { made: created.json.id } });
    expect(await audited(`about=${created.json.id}`, 1)).toHaveLength(1);
    const everything = await nc.request('$JS.API.STREAM.INFO.AUDIT', '', { timeout: 20_000 });
    expect(everything.json()).toMatchObject({ config: { name: 'AUDIT' } });
    const pages = JSON.stringify(await audited('from=0', 1));
    expect(pages).not.toContain(secret);
    expect(pages).not.toContain(TOKEN);
    expect(JSON.stringify((await call('/v1/tokens')).json)).not.toContain(secret);
  });

  it('that are revoked end what goes on with them: event streams, sessions and waiting WebSockets', async () => {
    const { token, secret } = await make();
    const { id } = (
      await call('/v1/microvms?wait=running', { method: 'POST', body: { image: 'canary' }, token: secret })
    ).json;
    const stream = await SseClient.open(`${gateway.url}/v1/events`, secret);
    const other = await SseClient.open(`${gateway.url}/v1/events`, TOKEN);
    const socket = new WebSocket(`${gateway.url.replace('http', 'ws')}/v1/microvms/${id}/console`, {
      headers: { authorization: `Bearer ${secret}` },
    });
    const messages: Buffer[] = [];
    socket.on('message', (data: Buffer) => messages.push(data));
    await once(socket, 'message');
    const begun = await audited(`token=${token.id}&about=${id}`, 2);
    expect(begun.map(({ route, status }) => [route, status])).toEqual([
      ['/v1/microvms', 201],
      ['/v1/microvms/{id}/console', 101],
    ]);
    const closed = once(socket, 'close');
    await revoke(token.id);
    await Promise.all([stream.ended, closed]);
    expect(stream.text).toContain(': the token has ended');
    expect(messages.at(-1)!.subarray(1).toString()).toContain('"code":"unauthorized"');
    expect(sessions.open.size).toBe(0);
    // The others go on.
    await call(`/v1/microvms/${id}/kill`, { method: 'POST' });
    await other.until(({ events }) =>
      events.some(({ data }) => data.record?.microvmId === id && data.record.to === 'stopped'),
    );
    await other.close();
  });

  it('that expire end what goes on with them', async () => {
    const { secret } = await make({ ttlSeconds: 1 });
    const stream = await SseClient.open(`${gateway.url}/v1/events`, secret);
    await stream.ended;
    expect(stream.text).toContain(': the token has ended');
    expect((await call('/v1/microvms', { token: secret })).status).toBe(401);
  });

  it('of a tenant are held to its rate together, and told when to come back', async () => {
    await call('/v1/tenants/busy', { method: 'PUT', body: { requestsPerSecond: 0.01 } });
    const [one, other] = [await make({ tenant: 'busy' }), await make({ tenant: 'busy', role: 'read-only' })];
    expect((await call('/v1/microvms', { token: one.secret })).status).toBe(200);
    const second = await call('/v1/microvms', { token: other.secret });
    expect(second).toMatchObject({ status: 429, json: { code: 'overloaded' } });
    expect(Number(second.headers.get('retry-after'))).toBeGreaterThan(90);
    expect((await call('/v1/microvms')).status).toBe(200);
    await call('/v1/tenants/busy', { method: 'PUT', body: {} });
    expect((await call('/v1/microvms', { token: other.secret })).status).toBe(200);
  });

  it('go with their tenant, which goes only when it has no microVMs', async () => {
    await call('/v1/tenants/gone', { method: 'PUT', body: { quotas: { microvms: 2 } } });
    const { secret } = await make({ tenant: 'gone' });
    const { id } = (
      await call('/v1/microvms?wait=running', { method: 'POST', body: { image: 'canary' }, token: secret })
    ).json;
    expect((await call('/v1/tenants/gone', { method: 'DELETE' })).status).toBe(409);
    await call(`/v1/microvms/${id}?wait=deleted`, { method: 'DELETE' });
    expect((await call('/v1/tenants/gone', { method: 'DELETE' })).json).toEqual({ removed: true, revokedTokens: 1 });
    expect((await call('/v1/microvms', { token: secret })).status).toBe(401);
    expect((await call('/v1/tenants/gone')).status).toBe(404);
    expect((await call('/v1/tenants/gone', { method: 'DELETE' })).status).toBe(404);
  });

  it('are made of a role and a tenant that fit together', async () => {
    const refusal = async (body: object) =>
      (await call('/v1/tokens', { method: 'POST', body: { name: 'x', ...body } })).json.errors[0].path;
    expect(await refusal({ role: 'operator', tenant: 'acme' })).toBe('tenant');
    expect(await refusal({ role: 'tenant-admin' })).toBe('tenant');
    expect(await refusal({ role: 'tenant-admin', tenant: 'unheard-of' })).toBe('tenant');
    expect(await refusal({ role: 'operator', name: 'operator' })).toBe('name');
    const { secret } = await make({ role: 'read-only', tenant: undefined });
    expect((await call('/v1/hosts', { token: secret })).status).toBe(200);
    expect((await call('/v1/audit', { token: secret })).status).toBe(200);
    expect((await call('/v1/hosts/host-a/cordon', { method: 'POST', token: secret })).status).toBe(403);
    expect((await call('/v1/microvms', { method: 'POST', body: { image: 'canary' }, token: secret })).status).toBe(403);
  });
});
