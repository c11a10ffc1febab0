import type { FastifyInstance } from 'fastify';
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client';
import { DensityMetrics } from './density-metrics';
import { HOST_STATES, MICROVM_STATES, type FleetDensity } from '#protocol';
import type { FleetView } from '#fleet';

const UNMATCHED = 'unmatched';

/** What the gateway tells Prometheus. Labels come from fixed sets and from host ids, never from what a client sends. */
export class GatewayMetrics {
  readonly registry = new Registry();
  readonly eventStreams = new Gauge({
    name: 'volley_gateway_event_streams',
    help: 'Open streams of server-sent events.',
    registers: [this.registry],
  });
  readonly eventStreamEnds = new Counter({
    name: 'volley_gateway_event_stream_ends_total',
    help: 'Streams of server-sent events that ended, by reason.',
    labelNames: ['reason'] as const,
    registers: [this.registry],
  });
  readonly auditDropped = new Counter({
    name: 'volley_gateway_audit_dropped_total',
    help: 'Entries of the audit that were given up: there was no room for them, or they were a flood of unknown tokens.',
    registers: [this.registry],
  });
  readonly #requests = new Histogram({
    name: 'volley_gateway_request_duration_seconds',
    help: 'From the head of a request to the end of its answer. wait: the caller asked to wait for a state.',
    labelNames: ['method', 'route', 'status', 'wait'] as const,
    buckets: [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    registers: [this.registry],
  });
  readonly #microvms = new Gauge({
    name: 'volley_microvms',
    help: 'Living microVMs by state.',
    labelNames: ['state'] as const,
    registers: [this.registry],
  });
  readonly #hosts = new Gauge({
    name: 'volley_hosts',
    help: 'Hosts by state.',
    labelNames: ['state'] as const,
    registers: [this.registry],
  });
  readonly #densityUp = new Gauge({
    name: 'volley_density_up',
    help: 'Whether the density of the fleet could be read.',
    registers: [this.registry],
  });
  readonly #density = new DensityMetrics(this.registry);
  #scrape: Promise<string> | undefined;

  constructor() {
    collectDefaultMetrics({ register: this.registry });
  }

  /** Times every answer. Streams of events are no answers. */
  observe(http: FastifyInstance): void {
    http.addHook('onResponse', (request, reply, done) => {
      const definition = request.routeOptions.config.definition;
      if (definition?.path !== '/v1/events') {
        const wait = definition !== undefined && (request.query as { wait?: unknown }).wait !== undefined;
        this.#requests.observe(
          {
            method: definition?.method ?? UNMATCHED,
            route: definition?.path ?? UNMATCHED,
            status: `${Math.floor(reply.statusCode / 100)}xx`,
            wait: wait ? 'yes' : 'no',
          },
          reply.elapsedTime / 1000,
        );
      }
      done();
    });
  }

  /** The text Prometheus reads. Asked twice at once, it is made once. */
  scrape(fleet: FleetView, density: () => Promise<FleetDensity>): Promise<string> {
    this.#scrape ??= this.#collect(fleet, density).finally(() => (this.#scrape = undefined));
    return this.#scrape;
  }

  async #collect(fleet: FleetView, density: () => Promise<FleetDensity>): Promise<string> {
    const measured = await density().catch(() => undefined);
    this.#densityUp.set(measured ? 1 : 0);
    this.#density.set(measured);
    const counts = fleet.countByState();
    for (const state of MICROVM_STATES) if (state !== 'deleted') this.#microvms.set({ state }, counts[state] ?? 0);
    const hosts = fleet.hosts();
    for (const state of HOST_STATES) this.#hosts.set({ state }, hosts.filter((host) => host.state === state).length);
    return this.registry.metrics();
  }
}
