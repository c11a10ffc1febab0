import { RetentionMark } from '#fleet';
import { describeWithNats } from '../../../../test/support/nats-server';
import type { GatewayUnderTest } from '../testing/gateway-under-test';
import { HOST_ID } from '../testing/scripted-controller';
import { scriptedPlane, type ScriptedPlane } from '../testing/scripted-plane';

interface Item {
  id: string;
  state: string;
}

describeWithNats('the past over REST', () => {
  let plane: ScriptedPlane;
  let gateway: GatewayUnderTest;
  /** Instants between the steps of the story: nothing yet; one runs; three run; the first is gone. */
  const at: number[] = [];
  const ids: string[] = [];

  beforeAll(async () => {
    plane = await scriptedPlane();
    ({ gateway } = plane);
    await mark();
    await create('first', 'red');
    await mark();
    await create('second', 'blue');
    await create('third', 'red');
    await mark();
    expect((await gateway.request(`/v1/microvms/${ids[0]}?wait=deleted`, { method: 'DELETE' })).status).toBe(200);
    await mark();
  });
  afterAll(() => plane?.close());

  /** An instant that no record has. */
  async function mark(): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, 5));
    at.push(Date.now());
    await new Promise((resolve) => setTimeout(resolve, 5));
  }

  async function create(name: string, tenant: string): Promise<void> {
    const body = { image: 'canary', memoryMiB: 32, name, tenant };
    const { status, json } = await gateway.request('/v1/microvms?wait=running', { method: 'POST', body });
    expect(status).toBe(201);
    ids.push((json as Item).id);
  }

  const shown = async (query: string): Promise<string[]> => {
    const { status, json } = await gateway.request(`/v1/fleet?${query}`);
    expect(status).toBe(200);
    return (json as { items: Item[] }).items.map(({ id, state }) => `${ids.indexOf(id)} ${state}`);
  };

  it('shows the fleet as it was', async () => {
    expect(await shown(`at=${at[0]}`)).toEqual([]);
    expect(await shown(`at=${at[1]}`)).toEqual(['0 running']);
    expect(await shown(`at=${new Date(at[2]!).toISOString()}`)).toEqual(['0 running', '1 running', '2 running']);
    expect(await shown(`at=${at[3]}`)).toEqual(['1 running', '2 running']);
    expect(await shown(`at=${at[3]}&state=deleted`)).toEqual(['0 deleted']);
    expect(await shown('')).toEqual(['1 running', '2 running']);
    const { json } = await gateway.request(`/v1/fleet?at=${at[2]}&limit=2`);
    expect(json).toMatchObject({ at: new Date(at[2]!).toISOString(), states: { running: 3 }, compactedBefore: null });
    expect((json as { hosts: Item[] }).hosts.map(({ id, state }) => [id, state])).toEqual([[HOST_ID, 'ready']]);
  });

  it('shows one microVM and one host as they were', async () => {
    const then = (await gateway.request(`/v1/microvms/${ids[0]}?at=${at[2]}`)).json as Item;
    expect(then).toMatchObject({ id: ids[0], state: 'running' });
    expect((await gateway.request(`/v1/microvms/${ids[0]}?at=${at[3]}`)).json).toMatchObject({ state: 'deleted' });
    const unborn = await gateway.request(`/v1/microvms/${ids[0]}?at=${at[0]}`);
    expect([unborn.status, (unborn.json as { detail: string }).detail]).toEqual([
      404,
      expect.stringContaining('did not exist yet') as string,
    ]);
    expect((await gateway.request(`/v1/hosts/${HOST_ID}?at=${at[0]}`)).json).toMatchObject({ state: 'ready' });
    expect((await gateway.request(`/v1/hosts/${HOST_ID}?at=2001-01-01T00:00:00Z`)).status).toBe(404);
  });

  it('shows groups as they were', async () => {
    const body = { name: 'web', replicas: 2, spec: { image: 'canary', tenant: 'red' } };
    await gateway.request('/v1/groups', { method: 'POST', body });
    await mark();
    const created = at.pop()!;
    await gateway.request('/v1/groups/red_web/scale', { method: 'POST', body: { replicas: 4 } });
    const groups = async (query: string) => (await gateway.request(`/v1/fleet?${query}`)).json.groups;
    expect(await groups(`at=${at[3]}`)).toEqual([]);
    expect(await groups(`at=${created}`)).toMatchObject([{ id: 'red_web', replicas: 2, state: 'active' }]);
    expect((await gateway.request(`/v1/groups/red_web?at=${created}`)).json).toMatchObject({
      replicas: 2,
      members: [],
    });
    const unborn = await gateway.request(`/v1/groups/red_web?at=${at[3]}`);
    expect([unborn.status, unborn.json.detail]).toEqual([404, expect.stringContaining('did not exist yet')]);
    const { json } = await gateway.request(`/v1/fleet/diff?from=${created}`);
    expect(json.groups).toMatchObject([{ id: 'red_web', from: { replicas: 2 }, to: { replicas: 4 } }]);
  });

  it('has the filters and the pages of the list', async () => {
    expect(await shown(`at=${at[2]}&tenant=red`)).toEqual(['0 running', '2 running']);
    expect(await shown(`at=${at[2]}&name=second`)).toEqual(['1 running']);
    expect(await shown(`at=${at[2]}&state=paused`)).toEqual([]);
    const first = await gateway.request(`/v1/fleet?at=${at[2]}&limit=2`);
    const { nextCursor } = first.json as { nextCursor: string };
    expect(nextCursor).toBe(ids[1]);
    expect(await shown(`at=${at[2]}&limit=2&cursor=${nextCursor}`)).toEqual(['2 running']);
  });

  it('tells what became of the fleet between two instants', async () => {
    const { json } = await gateway.request(`/v1/fleet/diff?from=${at[1]}&to=${at[3]}`);
    expect(json).toMatchObject({
      sums: { appeared: 2, changed: 0, ended: 1, cameAndWent: 0, unchanged: 0 },
      states: { from: { running: 1 }, to: { running: 2 } },
      items: [
        { id: ids[0], name: 'first', change: 'ended', from: { state: 'running', hostId: HOST_ID, epoch: 1 }, to: null },
        { id: ids[1], change: 'appeared', from: null, to: { state: 'running' } },
        { id: ids[2], change: 'appeared' },
      ],
      hosts: [],
      nextCursor: null,
    });
    const whole = await gateway.request(`/v1/fleet/diff?from=${at[0]}&limit=2`);
    expect(whole.json).toMatchObject({ sums: { appeared: 2, cameAndWent: 1 }, nextCursor: ids[1] });
    const rest = await gateway.request(`/v1/fleet/diff?from=${at[0]}&limit=2&cursor=${ids[1]}`);
    expect((rest.json as { items: Item[] }).items.map(({ id }) => id)).toEqual([ids[2]]);
  });

  it('tells who shared a host with a tenant, when and for how long', async () => {
    const { json } = await gateway.request(`/v1/coresidency?tenant=blue&from=${at[0]}&to=${at[3]}`);
    const [host, ...others] = (json as { hosts: { hostId: string; spans: { from: number; to: number }[] }[] }).hosts;
    expect(others).toEqual([]);
    expect(host).toMatchObject({
      hostId: HOST_ID,
      own: [ids[1]],
      others: [{ tenant: 'red', microvms: [{ id: ids[0] }, { id: ids[2] }] }],
    });
    const spans = (host as unknown as { others: { microvms: { spans: { from: number; to: number }[] }[] }[] })
      .others[0]!;
    const [first, third] = spans.microvms.map((one) => one.spans[0]!);
    expect(first!.from).toBeGreaterThan(at[1]!); // since the second was placed
    expect(first!.to).toBeLessThan(at[3]!); // until the first was erased
    expect(third!.to).toBe(at[3]); // still there
    expect((await gateway.request(`/v1/coresidency?tenant=blue&from=${at[0]}&to=${at[1]}`)).json).toMatchObject({
      hosts: [],
      unknown: 0,
    });
  });

  it('says how long histories are kept, and what may be missing', async () => {
    const kept = { days: null, compactedBefore: null, ranAt: null };
    expect((await gateway.request('/v1/retention')).json).toEqual(kept);
    const mark = await RetentionMark.open(plane.nc);
    await mark.note({ days: 1, compactedBefore: at[2]! });
    expect((await gateway.request('/v1/retention')).json).toEqual({ ...kept, days: 1, compactedBefore: at[2] });
    const compactedBefore = new Date(at[2]!).toISOString();
    expect((await gateway.request(`/v1/fleet?at=${at[1]}`)).json).toMatchObject({ compactedBefore });
    expect((await gateway.request(`/v1/fleet?at=${at[3]}`)).json).toMatchObject({ compactedBefore: null });
    expect((await gateway.request(`/v1/fleet/diff?from=${at[1]}`)).json).toMatchObject({ compactedBefore });
  });

  it.each([
    ['/v1/fleet?at=yesterday', 422, 'query.at'],
    ['/v1/fleet?at=2031-01-01T00:00:00Z', 422, 'at'],
    ['/v1/fleet?at=2001-01-01T00:00:00Z', 422, 'at'],
    ['/v1/fleet/diff', 422, 'query.from'],
    ['/v1/fleet/diff?from=2', 422, 'from'],
    ['/v1/coresidency?from=2', 422, 'query.tenant'],
    ['/v1/coresidency?tenant=blue&from=9&to=3', 422, 'from'],
  ])('answers %s clearly', async (path, status, field) => {
    const { status: got, json } = await gateway.request(path);
    expect([got, (json as { errors: { path: string }[] }).errors[0]!.path]).toEqual([status, field]);
  });
});
