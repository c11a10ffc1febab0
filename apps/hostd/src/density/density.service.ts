import { Inject, Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { BusClient } from '#bus';
import { densityReportOf } from '#density';
import { densityReport, microvmSamples, type MicrovmSample } from '#protocol';
import { HostAgent } from '../host-agent';
import type { SamplerRound } from './sampler-messages';

/** Samples in one message: far below what NATS takes. */
const CHUNK = 500;

/** Publishes what the host measures. Nobody has to listen. */
@Injectable()
export class DensityService implements OnApplicationBootstrap {
  constructor(
    @Inject(HostAgent) private readonly agent: HostAgent,
    @Inject(BusClient) private readonly bus: BusClient,
  ) {}

  onApplicationBootstrap(): void {
    this.agent.density.listen((round) => this.#publish(round));
  }

  #publish(round: SamplerRound): void {
    const { agent, bus } = this;
    if (bus.connection.isClosed() || bus.connection.isDraining()) return;
    const report = densityReportOf({
      hostId: agent.hostId,
      at: agent.clock.now(),
      capacity: agent.admission.capacity,
      commitment: agent.admission.commitment(),
      admitted: agent.admission.count,
      microvms: agent.density.count,
      samples: round.latest,
      host: round.host,
      samplingCpuMs: round.cpuMs,
    });
    bus.publish(densityReport(agent.hostId), report);
    for (let i = 0; i < round.samples.length; i += CHUNK) {
      const samples: MicrovmSample[] = round.samples.slice(i, i + CHUNK);
      bus.publish(microvmSamples(agent.hostId), { hostId: agent.hostId, at: report.at, samples });
    }
  }
}
