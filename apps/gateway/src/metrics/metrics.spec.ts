import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Registry } from 'prom-client';
import { noUsage } from '#density';
import { describeWithNats } from '../../../../test/support/nats-server';
import { gatewayUnderTest, type GatewayUnderTest } from '../testing/gateway-under-test';
import { parsePrometheus } from '../testing/prometheus-text';
import { HOST_ID, type ScriptedController } from '../testing/scripted-controller';
import { scriptedPlane, type ScriptedPlane } from '../testing/scripted-plane';
import { OTHER, TenantMetrics } from './tenant-metrics';

describeWithNats('GET /metrics', () => {
  let plane: ScriptedPlane;
  let controller: ScriptedController;
  let gateway: GatewayUnderTest;

  beforeAll(async () => {
    plane = await scriptedPlane();
    ({ gateway, controller } = plane);
  });
  afterAll(() => plane?.close());

  const scrape = async (): Promise<string[]> => (await gateway.request('/metrics')).text.split('\n');

  it('tells density per host and fleet, in base units', async () => {
    const lines = await scrape();
    expect(lines).toContain('volley_density_up 1');
    expect(lines).toContain(`volley_host_commitment_memory_bytes{host="${HOST_ID}"} ${96 * 1024 * 1024}`);
    expect(lines).toContain(`volley_host_overcommit_ratio{host="${HOST_ID}",resource="cpu"} 1.5`);
    expect(lines).toContain(`volley_host_pressure_ratio{host="${HOST_ID}",kind="cpuSome"} 0.01`);
    expect(lines.join('\n')).not.toContain('memorySome'); // not measured there
    expect(lines).toContain(`volley_host_memory_bytes{host="${HOST_ID}",part="guestPrivate"} ${36 * 1024 * 1024}`);
    expect(lines).toContain(`volley_host_fits_microvms{host="${HOST_ID}",by="vcpus"} 5`);
    expect(lines).toContain(`volley_host_start_duration_seconds_bucket{le="0.005",host="${HOST_ID}"} 2`);
    expect(lines).toContain(`volley_host_start_duration_seconds_bucket{le="+Inf",host="${HOST_ID}"} 3`);
    expect(lines).toContain('volley_tenant_microvms{tenant="default"} 3');
    expect(lines).toContain('volley_fleet_slots{kind="used"} 3');
  });

  /** Only ours: the client library's own names are not ours to choose. */
  const ours = async () => {
    const lines = (await scrape()).filter((line) => /^(# \w+ )?volley_/.test(line));
    return parsePrometheus(`${lines.join('\n')}\n`);
  };

  it('is what a linter of Prometheus passes', async () => {
    const families = await ours();
    expect(families.length).toBeGreaterThan(40);
    for (const { name, help } of families) expect([name, help]).toEqual([name, expect.stringMatching(/\.$/)]);
  });

  it('has every metric that rules and dashboard ask for, with the labels that they name', async () => {
    const families = await ours();
    const labelsOf = new Map(
      families.map(({ name, samples }) => [name, new Set(samples.flatMap(({ labels }) => Object.keys(labels)))]),
    );
    for (const file of ['prometheus/volley.rules.yml', 'grafana/volley-density.json']) {
      const text = readFileSync(join(__dirname, '../../../../deploy', file), 'utf8').replaceAll('\\"', '"');
      const asked = [...text.matchAll(/\b(volley_\w+)(?:\{([^}]*)\})?/g)];
      expect(asked.length).toBeGreaterThan(10);
      for (const [, name, selector = ''] of asked) {
        const labels = labelsOf.get(name!) ?? labelsOf.get(name!.replace(/_(bucket|sum|count)$/, ''));
        expect([file, name, labels !== undefined]).toEqual([file, name, true]);
        for (const [, label] of selector.matchAll(/(\w+)\s*=/g))
          expect([name, [...labels!]]).toEqual([name, expect.arrayContaining([label])]);
      }
    }
  });

  it('has as many series with a thousand tenants as with some', async () => {
    const density = async (tenants: number) => {
      const usage = (i: number) => ({
        ...{ tenant: `t${i}`, microvms: 1, commitment: { vcpus: 1, memoryMiB: 16 } },
        used: { ...noUsage(), measured: 1, proportionalKiB: 1024 },
      });
      const metrics = new TenantMetrics(registry);
      metrics.set(Array.from({ length: tenants }, (_, i) => usage(i)));
      const text = await registry.metrics();
      registry.clear();
      return parsePrometheus(text);
    };
    const registry = new Registry();
    const [few, many] = [await density(60), await density(1_000)];
    const series = (families: typeof few): number => families.reduce((sum, { samples }) => sum + samples.length, 0);
    expect(series(many)).toBe(series(few));
    const microvms = many.find(({ name }) => name === 'volley_tenant_microvms')!.samples;
    expect(microvms.reduce((sum, { value }) => sum + value, 0)).toBe(1_000);
    expect(microvms.find(({ labels }) => labels['tenant'] === OTHER)!.value).toBe(950);
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
    const open = await gatewayUnderTest(plane.server.url, { metricsOpen: true });
    expect((await open.request('/metrics', { token: null })).status).toBe(200);
    await open.close();
  });
});
