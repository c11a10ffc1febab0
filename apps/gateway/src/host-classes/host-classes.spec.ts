import { describeWithNats } from '../../../../test/support/nats-server';
import type { GatewayUnderTest } from '../testing/gateway-under-test';
import { HOST_ID } from '../testing/scripted-controller';
import { scriptedPlane, type ScriptedPlane } from '../testing/scripted-plane';

describeWithNats('host classes over REST', () => {
  let plane: ScriptedPlane;
  let gateway: GatewayUnderTest;

  beforeAll(async () => {
    plane = await scriptedPlane();
    ({ gateway } = plane);
  });
  afterAll(() => plane?.close());

  const put = (path: string, body: unknown) => gateway.request(path, { method: 'PUT', body });
  const assign = (name: string | null) => put(`/v1/hosts/${HOST_ID}/class`, { class: name });
  const FIXED = { policy: { kind: 'fixedRatio', cpu: 8, memory: 2 }, guaranteed: { cpu: 4, memory: 1 } };

  it('puts them on record, shows which hosts they have, and changes them', async () => {
    const first = await put('/v1/host-classes/dense', FIXED);
    expect(first).toMatchObject({ status: 200, json: { name: 'dense', ...FIXED, guards: {}, hosts: [] } });
    expect((await assign('dense')).json.hostClass).toEqual({ name: 'dense', by: 'operator' });
    const second = await put('/v1/host-classes/dense', { policy: { kind: 'predictedPeak' } });
    expect(second.json).toMatchObject({
      policy: { kind: 'predictedPeak', windows: 24 },
      createdAt: first.json.createdAt,
    });
    expect(second.json.guaranteed).toBeUndefined();
    expect(second.json.updatedAt).toBeGreaterThan(first.json.updatedAt);
    // The scripted host has acknowledged nothing.
    const hosts = [{ id: HOST_ID, state: 'ready', by: 'operator', goesByIt: false }];
    expect((await gateway.request('/v1/host-classes/dense')).json).toEqual({ ...second.json, hosts });
    expect((await gateway.request('/v1/host-classes')).json.items).toHaveLength(1);
  });

  it('keeps one that hosts were put into', async () => {
    const remove = () => gateway.request('/v1/host-classes/dense', { method: 'DELETE' });
    expect(await remove()).toMatchObject({ status: 409, json: { detail: expect.stringContaining(HOST_ID) as string } });
    expect((await assign(null)).json.hostClass).toEqual({ name: 'default', by: 'agent' });
    expect((await remove()).json).toEqual({ removed: true });
    expect((await remove()).status).toBe(404);
  });

  it.each([
    ['a ratio of nothing', { policy: { kind: 'fixedRatio', cpu: 0, memory: 1 } }],
    ['no policy', {}],
    [
      'a gate that opens before it shuts',
      { ...FIXED, guards: { bestEffort: { availableMemory: { shut: 15, open: 12 } } } },
    ],
    ['guarantees above the ratio', { ...FIXED, guaranteed: { cpu: 4, memory: 3 } }],
    ['a word that nobody knows', { ...FIXED, ratio: 3 }],
  ])('refuses %s, and says why', async (_, body) => {
    const { status, json } = await put('/v1/host-classes/bad', body);
    expect(status).toBe(422);
    expect(JSON.stringify(json)).toMatch(/must|above|Unrecognized|Invalid|expected|Too small|unknown field/);
    expect((await gateway.request('/v1/host-classes/bad')).status).toBe(404);
  });

  it('tells what became of a host, the latest last', async () => {
    const { json } = await gateway.request(`/v1/hosts/${HOST_ID}/history`);
    expect(json.entries.map(({ events }: { events: { type: string }[] }) => events.map(({ type }) => type))).toEqual([
      ['registered', 'admitted'],
      ['classAssigned'],
      ['classAssigned'],
    ]);
    expect(json.more).toBe(false);
    const last = (await gateway.request(`/v1/hosts/${HOST_ID}/history?limit=1`)).json;
    expect([last.more, last.entries]).toEqual([true, [json.entries[2]]]);
    const before = await gateway.request(`/v1/hosts/${HOST_ID}/history?before=${json.entries[1].sequence}`);
    expect(before.json.entries).toEqual([json.entries[0]]);
    expect((await gateway.request('/v1/hosts/nobody/history')).status).toBe(404);
  });
});
