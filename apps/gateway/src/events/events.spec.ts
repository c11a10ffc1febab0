import { describeWithNats } from '../../../../test/support/nats-server';
import { gatewayUnderTest, TOKEN, type GatewayUnderTest } from '../testing/gateway-under-test';
import { HOST_ID } from '../testing/scripted-controller';
import { scriptedPlane, type ScriptedPlane } from '../testing/scripted-plane';
import { SseClient } from '../testing/sse-client';

describeWithNats('GET /v1/events', () => {
  let plane: ScriptedPlane;
  let gateway: GatewayUnderTest;
  const clients: SseClient[] = [];

  beforeAll(async () => {
    plane = await scriptedPlane();
    ({ gateway } = plane);
  });
  afterEach(() => Promise.all(clients.splice(0).map((client) => client.close())));
  afterAll(() => plane?.close());

  const follow = async (options: { query?: string; from?: string; at?: GatewayUnderTest } = {}): Promise<SseClient> => {
    const { query = '', from, at = gateway } = options;
    const client = await SseClient.open(`${at.url}/v1/events${query}`, TOKEN, from);
    clients.push(client);
    await client.until(({ text }) => text.includes('\n\n')); // it has its place now
    return client;
  };
  const run = async (): Promise<string> => {
    const { json } = await gateway.request('/v1/microvms?wait=running', { method: 'POST', body: { image: 'canary' } });
    return json.id;
  };
  const statesOf = (client: SseClient, id: string): string[] =>
    client.events.filter(({ data }) => data.microvm?.id === id).map(({ data }) => data.record.to);

  it('tells the life of a microVM as it happens', async () => {
    const client = await follow();
    const id = await run();
    await client.until(() => statesOf(client, id).includes('running'));
    expect(statesOf(client, id)).toEqual(['placing', 'starting', 'running']);
    const last = client.events.at(-1)!;
    expect(last).toMatchObject({
      type: 'microvm',
      data: { microvm: { id, state: 'running' }, record: { to: 'running' } },
    });
    expect(last.id).toMatch(new RegExp(`^${last.data.sequence}\\.\\d+\\.\\d+$`));
  });

  it('tells of hosts', async () => {
    const client = await follow();
    await gateway.request(`/v1/hosts/${HOST_ID}/cordon`, { method: 'POST' });
    await client.until(() => client.events.length > 0);
    expect(client.events[0]).toMatchObject({ type: 'host', data: { host: { id: HOST_ID, state: 'cordoned' } } });
    await gateway.request(`/v1/hosts/${HOST_ID}/uncordon`, { method: 'POST' });
  });

  it('tells of groups, live and from the histories, without the specs of their members', async () => {
    const client = await follow();
    const before = client.lastId!;
    const spec = { image: 'canary', memoryMiB: 32, metadata: { password: 'secret-word' } };
    await gateway.request('/v1/groups', { method: 'POST', body: { name: 'web', replicas: 2, spec } });
    await gateway.request('/v1/groups/default_web/scale', { method: 'POST', body: { replicas: 3 } });
    const told = ({ events }: SseClient) =>
      events.map(({ type, data }) => [type, data.group?.id, data.record.events[0].type, data.group?.replicas]);
    await client.until(({ events }) => events.length === 2);
    expect(told(client)).toEqual([
      ['group', 'default_web', 'created', 2],
      ['group', 'default_web', 'scaled', 3],
    ]);
    const other = await gatewayUnderTest(plane.server.url);
    try {
      const again = await follow({ from: before, at: other });
      await again.until(({ events }) => events.length === 2);
      // As it is now, since that is what the view holds.
      expect(told(again).map((one) => one.at(-1))).toEqual([3, 3]);
      expect(again.lastId).toBe(client.lastId);
      const one = await follow({ from: '0.0.0', at: other, query: '?group=default_web' });
      await one.until(({ events }) => events.length === 2);
      expect(new Set(one.events.map(({ type }) => type))).toEqual(new Set(['group']));
      const none = await follow({ from: '0.0.0', at: other, query: '?group=default_other' });
      await none.close();
      expect(none.events).toEqual([]);
      for (const { text } of [client, again, one]) expect(text).not.toContain('secret-word');
    } finally {
      await other.close();
    }
  });

  it('goes on where the client was, from memory', async () => {
    const client = await follow();
    const first = await run();
    await client.until(() => statesOf(client, first).includes('running'));
    await client.close();
    const second = await run();
    const again = await follow({ from: client.lastId! });
    await again.until(() => statesOf(again, second).includes('running'));
    expect(again.events.map(({ data }) => data.microvm.id)).toEqual([second, second, second]);
  });

  it('goes on where the client was at another gateway, from the histories', async () => {
    const client = await follow();
    const before = client.lastId!;
    const id = await run();
    await gateway.request(`/v1/hosts/${HOST_ID}/cordon`, { method: 'POST' });
    await gateway.request(`/v1/hosts/${HOST_ID}/uncordon`, { method: 'POST' });
    await client.until(() => client.events.length === 5);
    const other = await gatewayUnderTest(plane.server.url); // it has nothing of this in memory
    try {
      const again = await follow({ from: before, at: other });
      await again.until(() => again.events.length === 5);
      expect(statesOf(again, id)).toEqual(['placing', 'starting', 'running']);
      expect(again.events.filter(({ type }) => type === 'host').map(({ data }) => data.record.to)).toEqual([
        'cordoned',
        'ready',
      ]);
      const ids = new Set(client.events.map(({ type, data }) => `${type} ${data.sequence}`));
      expect(new Set(again.events.map(({ type, data }) => `${type} ${data.sequence}`))).toEqual(ids);
      expect(again.lastId).toBe(client.lastId);
      // and it goes on live
      const next = await run();
      await again.until(() => statesOf(again, next).includes('running'));
    } finally {
      await other.close();
    }
  });

  it('replays everything to one who asks for it', async () => {
    const id = await run();
    const client = await follow({ from: '0.0' });
    await client.until(() => statesOf(client, id).includes('running'));
    expect(client.events[0]).toMatchObject({ data: { record: { from: null } } });
    await client.until(() => client.events.some(({ type, data }) => type === 'host' && data.record.from === null));
  });

  it('follows one microVM', async () => {
    const [one] = [await run(), await run()];
    const client = await follow({ query: `?microvm=${one}`, from: '0.0' });
    await gateway.request(`/v1/microvms/${one}/stop`, { method: 'POST' });
    await client.until(() => statesOf(client, one).includes('stopped'));
    expect(new Set(client.events.map(({ data }) => data.microvm.id))).toEqual(new Set([one]));
    expect(statesOf(client, one)).toEqual(['placing', 'starting', 'running', 'stopping', 'stopped']);
  });

  it('survives a crash of nats-server without a gap', async () => {
    const client = await follow();
    const first = await run();
    await plane.server.kill9();
    await plane.server.restart();
    let second: string | undefined;
    while (second === undefined) second = await run().catch(() => undefined);
    await client.until(() => statesOf(client, second).includes('running'));
    expect(statesOf(client, first)).toEqual(['placing', 'starting', 'running']);
    expect(statesOf(client, second)).toEqual(['placing', 'starting', 'running']);
  });

  it('ends politely when the gateway shuts down', async () => {
    const other = await gatewayUnderTest(plane.server.url);
    const client = await follow({ at: other });
    other.shutdown.abort();
    await client.ended;
    expect(client.text).toMatch(/: the gateway is shutting down\n\n$/);
    expect((await other.request('/v1/events')).status).toBe(503);
    await other.close();
  });

  it('refuses strangers, wrong ids and wrong filters', async () => {
    expect((await gateway.request('/v1/events', { token: null })).status).toBe(401);
    expect((await gateway.request('/v1/events?access_token=x')).status).toBe(422);
    expect((await gateway.request('/v1/events?microvm=x')).status).toBe(422);
    const both = await gateway.request('/v1/events?group=default_web&microvm=01hzzzzzzzzzzzzzzzzzzzzzzz');
    expect([both.status, both.json.errors[0].path]).toEqual([422, 'query.group']);
    const { status, json } = await gateway.request('/v1/events', { headers: { 'last-event-id': 'abc' } });
    expect({ status, path: json.errors[0].path }).toEqual({ status: 422, path: 'header.last-event-id' });
  });
});
