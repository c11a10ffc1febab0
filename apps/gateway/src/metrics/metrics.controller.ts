import { Controller, Inject, Res } from '@nestjs/common';
import { BusClient } from '#bus';
import { fleetDensity } from '#protocol';
import type { FastifyReply } from 'fastify';
import { FLEET, type Fleet } from '../fleet/fleet';
import { Input, Serves } from '../http/route';
import { GatewayMetrics } from './gateway-metrics';
import { metricsRoute } from './metrics.routes';

/** A scrape must not hang because the placement service is away. */
const DENSITY_DEADLINE_MS = 1_000;

@Controller()
export class MetricsController {
  constructor(
    @Inject(GatewayMetrics) private readonly metrics: GatewayMetrics,
    @Inject(FLEET) private readonly fleet: Fleet,
    @Inject(BusClient) private readonly bus: BusClient,
  ) {}

  @Serves(metricsRoute)
  async scrape(@Input(metricsRoute) _input: unknown, @Res({ passthrough: true }) reply: FastifyReply): Promise<string> {
    const density = () => this.bus.call(fleetDensity, {}, { deadlineMs: DENSITY_DEADLINE_MS });
    const text = await this.metrics.scrape(this.fleet, density);
    reply.type(this.metrics.registry.contentType);
    return text;
  }
}
