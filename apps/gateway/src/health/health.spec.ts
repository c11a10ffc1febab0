import { connectNats } from '#bus';
import type { NatsConnection } from 'nats';
import { describeWithNats, startNatsServer, type NatsServer } from '../../../../test/support/nats-server';
import { gatewayUnderTest, type GatewayUnderTest } from '../testing/gateway-under-test';
import { ScriptedController } from '../testing/scripted-controller';

describeWithNats('health and readiness', () => {
  let server: NatsServer;
  let nc: NatsConnection;
  let controller: ScriptedController;
  let gateway: GatewayUnderTest;

  beforeEach(async () => {
    server = await startNatsServer();
    nc = await connectNats({ servers: server.url, name: 'scripted-controller' });
    controller = await ScriptedController.start(nc);
    gateway = await gatewayUnderTest(server.url);
  });
  afterEach(async () => {
    await gateway?.close();
    await nc?.close();
    await server?.stop();
  });

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
    await server.kill9();
    const { json } = await readyUntil(503);
    expect(json.checks.nats).toBe('not connected');
    await server.restart();
    await readyUntil(200);
  });

  it('tell that the process is about to end', async () => {
    gateway.shutdown.abort();
    const { status, json, headers } = await ready();
    expect({ status, process: json.checks.process }).toEqual({ status: 503, process: 'shutting down' });
    expect(headers.get('connection')).toBe('close');
  });
});
