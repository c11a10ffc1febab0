import { DrainPlan, FleetDensity, Host } from '#protocol';
import { describeWithNats } from '../../../../test/support/nats-server';
import type { GatewayUnderTest } from '../testing/gateway-under-test';
import { HOST_ID, type ScriptedController } from '../testing/scripted-controller';
import { scriptedPlane, type ScriptedPlane } from '../testing/scripted-plane';

describeWithNats('hosts and density over REST', () => {
  let plane: ScriptedPlane;
  let controller: ScriptedController;
  let gateway: GatewayUnderTest;

  beforeAll(async () => {
    plane = await scriptedPlane();
    ({ gateway, controller } = plane);
  });
  afterAll(() => plane?.close());

  it('lists and reads them', async () => {
    const { json } = await gateway.request('/v1/hosts');
    expect(json.items.map((host: unknown) => Host.parse(host).id)).toEqual([HOST_ID]);
    expect((await gateway.request(`/v1/hosts/${HOST_ID}`)).json).toEqual(json.items[0]);
  });

  it('commands them, and shows it at once', async () => {
    for (const [command, state] of [
      ['cordon', 'cordoned'],
      ['uncordon', 'ready'],
    ]) {
      const { status, json } = await gateway.request(`/v1/hosts/${HOST_ID}/${command}`, {
        method: 'POST',
        headers: { 'idempotency-key': `k-${command}` },
      });
      expect({ status, state: json.state }).toEqual({ status: 200, state });
      expect(controller.requests.at(-1)!.request).toEqual({
        hostId: HOST_ID,
        by: 'operator',
        commandId: `k-${command}`,
      });
      expect((await gateway.request(`/v1/hosts/${HOST_ID}`)).json.state).toBe(state);
    }
    expect((await gateway.request(`/v1/hosts/${HOST_ID}/retire`, { method: 'POST' })).status).toBe(409);
  });

  it('plans a drain, starts it and cancels it', async () => {
    const plan = await gateway.request(`/v1/hosts/${HOST_ID}/drain-plan?parallel=2&grace=3s&kept=stop`);
    expect(DrainPlan.parse(plan.json)).toMatchObject({ hostId: HOST_ID, parallel: 2, graceMs: 3_000, kept: 'stop' });
    const drained = await gateway.request(`/v1/hosts/${HOST_ID}/drain`, { method: 'POST', body: { parallel: 2 } });
    expect(drained.json).toMatchObject({
      state: 'draining',
      drain: { parallel: 2, graceMs: 10_000, kept: 'wait', progress: { total: 0 } },
    });
    expect((await gateway.request(`/v1/hosts/${HOST_ID}`)).json.state).toBe('draining');
    expect((await gateway.request(`/v1/hosts/${HOST_ID}/uncordon`, { method: 'POST' })).status).toBe(409);
    const cancelled = await gateway.request(`/v1/hosts/${HOST_ID}/drain`, { method: 'DELETE' });
    expect(Host.parse(cancelled.json)).toMatchObject({ state: 'ready' });
    expect(cancelled.json.drain).toBeUndefined();
    expect((await gateway.request(`/v1/hosts/${HOST_ID}/drain`, { method: 'DELETE' })).status).toBe(409);
  });

  it.each([
    ['drain-plan?parallel=0', 'GET', undefined],
    ['drain-plan?grace=1h', 'GET', undefined],
    ['drain', 'POST', { kept: 'kill' }],
    ['drain', 'POST', { parallel: 1_000 }],
  ])('refuses %s by %s with %j', async (path, method, body) => {
    const { status } = await gateway.request(`/v1/hosts/${HOST_ID}/${path}`, { method, ...(body ? { body } : {}) });
    expect(status).toBe(422);
  });

  it.each(['nobody', 'not.a.host', '%20'])('does not know %s', async (id) => {
    expect((await gateway.request(`/v1/hosts/${id}`)).status).toBe(404);
    expect((await gateway.request(`/v1/hosts/${id}/cordon`, { method: 'POST' })).status).toBe(404);
  });

  it('refuses parameters that mean nothing', async () => {
    expect((await gateway.request('/v1/hosts?state=ready')).status).toBe(422);
    expect((await gateway.request(`/v1/hosts/${HOST_ID}/cordon`, { method: 'POST', body: { why: 'x' } })).status).toBe(
      422,
    );
  });

  it('tells how full they are', async () => {
    const { json } = await gateway.request('/v1/density');
    expect(FleetDensity.parse(json).hosts.map(({ hostId }) => hostId)).toEqual([HOST_ID]);
  });
});
