import { measureMicrovm, OperationError } from '#protocol';
import { describeWithNats } from '../../../../test/support/nats-server';
import type { GatewayUnderTest } from '../testing/gateway-under-test';
import { HOST_ID, type ScriptedController } from '../testing/scripted-controller';
import { scriptedPlane, type ScriptedPlane } from '../testing/scripted-plane';

describeWithNats('density over REST', () => {
  let plane: ScriptedPlane;
  let controller: ScriptedController;
  let gateway: GatewayUnderTest;

  beforeAll(async () => {
    plane = await scriptedPlane();
    ({ gateway, controller } = plane);
    await gateway.request('/v1/tenants/acme', { method: 'PUT', body: {} });
  });
  afterAll(() => plane?.close());

  const get = (path: string) => gateway.request(path);

  it('is of the fleet, a host and a tenant, with a history where one is asked for', async () => {
    for (const path of ['/v1/density', `/v1/hosts/${HOST_ID}/density`, '/v1/tenants/acme/density']) {
      const now = await get(path);
      expect([path, now.status, now.json.history]).toEqual([path, 200, undefined]);
      const past = await get(`${path}?from=2026-01-31T03:00:00Z&to=2026-01-31T04:00:00Z&step=5m`);
      expect([path, past.status]).toEqual([path, 200]);
      expect(past.json.history).toMatchObject({ from: 1_769_828_400_000, to: 1_769_832_000_000, stepMs: 300_000 });
      expect(past.json.history.points).toHaveLength(1);
    }
    expect((await get(`/v1/hosts/${HOST_ID}/density`)).json.host.marginalCost).toMatchObject({ method: 'slope' });
    expect((await get('/v1/tenants/acme/density')).json.tenant).toMatchObject({ tenant: 'acme', microvms: 3 });
  });

  it('takes an hour up to now for a history without instants', async () => {
    const { history } = (await get('/v1/density?step=1m')).json;
    expect(history.to - history.from).toBe(3_600_000);
    expect(Math.abs(history.to - Date.now())).toBeLessThan(60_000);
  });

  it('refuses steps and instants that make no sense', async () => {
    for (const query of ['step=5s', 'step=15s', 'from=yesterday', 'step=2000m'])
      expect([query, (await get(`/v1/density?${query}`)).status]).toEqual([query, 422]);
  });

  it('knows no host and no tenant that is not there', async () => {
    expect((await get('/v1/hosts/nowhere/density')).status).toBe(404);
    expect((await get('/v1/tenants/nobody/density')).status).toBe(404);
  });

  it('is of a page of microVMs, null for those that cannot be measured', async () => {
    const labels = { page: 'density' };
    const create = () =>
      gateway.request('/v1/microvms?wait=running', { method: 'POST', body: { image: 'canary', labels } });
    const ids: string[] = [];
    for (let i = 0; i < 3; i++) ids.push((await create()).json.id as string);
    const measured = (await get(`/v1/microvms/${ids[0]}/density`)).json;
    controller.instead.set(`volley.v1.hosts.${HOST_ID}.measure`, ({ microvmId }: { microvmId: string }) => {
      if (microvmId === ids[1]) throw new OperationError('notFound', `does not run on ${HOST_ID}`);
      return { ...measured, id: microvmId };
    });
    const path = '/v1/density/microvms?label=page%3Ddensity&limit=2';
    const first = await get(path);
    const rest = await get(`${path}&cursor=${first.json.nextCursor}`);
    controller.instead.clear();
    const seen = (items: { microvm: { id: string }; density: { id: string } | null }[]) =>
      items.map(({ microvm, density }) => [microvm.id, density?.id ?? null]);
    expect(seen(first.json.items)).toEqual([
      [ids[0], ids[0]],
      [ids[1], null],
    ]);
    expect(seen(rest.json.items)).toEqual([[ids[2], ids[2]]]);
    expect(rest.json.nextCursor).toBeNull();
  });

  it('is of one microVM while it runs, and names no host where it is not found', async () => {
    const created = await gateway.request('/v1/microvms?wait=running', { method: 'POST', body: { image: 'canary' } });
    const path = `/v1/microvms/${created.json.id}/density`;
    expect((await get(path)).json).toMatchObject({ id: created.json.id, memory: { sharedWith: null } });
    controller.instead.set(`volley.v1.hosts.${HOST_ID}.measure`, () => {
      throw new OperationError('notFound', `does not run on ${HOST_ID}`);
    });
    controller.instead.set(measureMicrovm.subject, () => ({
      error: { code: 'notFound', message: `does not run on ${HOST_ID}` },
    }));
    const gone = await get(path);
    controller.instead.clear();
    expect([gone.status, gone.text.includes(HOST_ID)]).toEqual([404, false]);
  });
});
