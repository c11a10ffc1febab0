import { connectNats } from '#bus';
import type { NatsConnection } from 'nats';
import { describeWithNats, startNatsServer, type NatsServer } from '../../../../test/support/nats-server';
import { gatewayUnderTest, type GatewayUnderTest } from '../testing/gateway-under-test';
import { HOST_ID, ScriptedController } from '../testing/scripted-controller';

describeWithNats('GET /metrics', () => {
  let server: NatsServer;
  let nc: NatsConnection;
  let controller: ScriptedController;
  let gateway: GatewayUnderTest;

  beforeAll(async () => {
    server = await startNatsServer();
    nc = await connectNats({ servers: server.url, name: 'scripted-controller' });
    controller = await ScriptedController.start(nc);
    gateway = await gatewayUnderTest(server.url);
  });
  afterAll(async () => {
    await gateway?.close();
    await nc?.close();
    await server?.stop();
  });

  const scrape = async (): Promise<string[]> => (await gateway.request('/metrics')).text.split('\n');

  it('tells density per host and fleet, in base units', async () => {
    const lines = await scrape();
    expect(lines).toContain('volley_density_up 1');
    expect(lines).toContain(`volley_host_commitment_memory_bytes{host="${HOST_ID}"} ${96 * 1024 * 1024}`);
    expect(lines).toContain(`volley_host_overcommit_ratio{host="${HOST_ID}",resource="cpu"} 1.5`);
    expect(lines).toContain(`volley_host_pressure_percent{host="${HOST_ID}",kind="cpuSome"} 1`);
    expect(lines.join('\n')).not.toContain('memorySome'); // not measured there
    expect(lines).toContain('volley_fleet_slots{kind="used"} 3');
  });

  it('forgets the numbers of a host when density is not known', async () => {
    controller.instead.set('volley.v1.density.get', () => ({ error: { code: 'internal', message: 'no' } }));
    const lines = await scrape();
    controller.instead.clear();
    expect(lines).toContain('volley_density_up 0');
    expect(lines.join('\n')).not.toContain(HOST_ID);
  });

  it('counts microVMs and hosts by state', async () => {
    await gateway.request('/v1/microvms?wait=running', { method: 'POST', body: { image: 'canary' } });
    const lines = await scrape();
    expect(lines).toContain('volley_microvms{state="running"} 1');
    expect(lines).toContain('volley_microvms{state="failed"} 0');
    expect(lines).toContain('volley_hosts{state="ready"} 1');
  });

  it('times requests by route and not by what clients make up', async () => {
    for (let i = 0; i < 20; i++) {
      await gateway.request(`/v1/microvms/made-up-${i}`);
      await gateway.request(`/made-up-${i}`);
    }
    const text = (await scrape()).join('\n');
    expect(text).not.toContain('made-up');
    expect(text).toMatch(
      /request_duration_seconds_count\{method="GET",route="\/v1\/microvms\/\{id\}",status="4xx",wait="no"\} 20/,
    );
    expect(text).toMatch(
      /request_duration_seconds_count\{method="unmatched",route="unmatched",status="4xx",wait="no"\} 20/,
    );
    expect(text).toMatch(/route="\/v1\/microvms",status="2xx",wait="yes"\} 1/);
  });

  it('needs the token unless it is open', async () => {
    expect((await gateway.request('/metrics', { token: null })).status).toBe(401);
    const open = await gatewayUnderTest(server.url, { metricsOpen: true });
    expect((await open.request('/metrics', { token: null })).status).toBe(200);
    await open.close();
  });
});
