import { describeWithNats } from '../../../../test/support/nats-server';
import type { GatewayUnderTest } from '../testing/gateway-under-test';
import type { ScriptedController } from '../testing/scripted-controller';
import { scriptedPlane, type ScriptedPlane } from '../testing/scripted-plane';

describeWithNats('health and readiness', () => {
  let plane: ScriptedPlane;
  let controller: ScriptedController;
  let gateway: GatewayUnderTest;

  beforeEach(async () => {
    plane = await scriptedPlane();
    ({ gateway, controller } = plane);
  });
  afterEach(() => plane?.close());

  const ready = () => gateway.request('/readyz', { token: null });
  /** The controller is asked every half second only. */
  const readyUntil = async (status: number, controllerIs = /^/) => {
    for (;;) {
      const answer = await ready();
      if (answer.status === status && controllerIs.test(answer.json.checks.controller)) return answer;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };

  it('are fine when all is there', async () => {
    expect((await gateway.request('/healthz', { token: null })).json).toEqual({ status: 'alive' });
    const { status, json } = await ready();
    expect(status).toBe(200);
    expect(json).toEqual({ status: 'ready', checks: { nats: 'ok', controller: 'ok', process: 'ok' } });
  });

  it('tell that the controller is away, and back', async () => {
    await controller.pause();
    // A question that was under way finds silence; the next one, that nobody is there.
    const { headers, json } = await readyUntil(503, /no service/);
    expect(json).toMatchObject({ code: 'unavailable', checks: { nats: 'ok' } });
    expect(headers.get('retry-after')).toBe('1');
    expect((await gateway.request('/healthz', { token: null })).status).toBe(200);
    await controller.resume();
    await readyUntil(200);
  });

  it('tell that NATS is away, and back', async () => {
    await plane.server.kill9();
    const { json } = await readyUntil(503);
    expect(json.checks.nats).toBe('not connected');
    await plane.server.restart();
    await readyUntil(200);
  });

  it('tell that the process is about to end', async () => {
    gateway.shutdown.abort();
    const { status, json, headers } = await ready();
    expect({ status, process: json.checks.process }).toEqual({ status: 503, process: 'shutting down' });
    expect(headers.get('connection')).toBe('close');
  });
});
