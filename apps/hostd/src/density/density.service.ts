import { Inject, Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { BusClient } from '#bus';
import { densityReportOf } from '#density';
import { densityReport, groupsOf, microvmSamples, SHARED, type MicrovmSample, type Occupancy } from '#protocol';
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

  #occupancy(): Occupancy {
    const { admission, chronicle, imageCache, manager } = this.agent;
    const groups = new Map<string, number>();
    for (const { phase, spec } of chronicle.state.incarnations.values()) {
      if (phase === 'ended' || !spec.placement) continue;
      for (const group of groupsOf(spec)) groups.set(group, (groups.get(group) ?? 0) + 1);
    }
    return {
      tenants: admission.occupants().map(({ tenant, count, coresidency }) => ({
        ...{ tenant, microvms: count },
        ...(coresidency === SHARED ? {} : { coresidency }),
      })),
      groups: [...groups].map(([group, microvms]) => ({ group, microvms })),
      images: imageCache.complete(),
      answered: manager.takeAnswered(),
    };
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
    bus.publish(densityReport(agent.hostId), { ...report, occupancy: this.#occupancy() });
    for (let i = 0; i < round.samples.length; i += CHUNK) {
      const samples: MicrovmSample[] = round.samples.slice(i, i + CHUNK);
      bus.publish(microvmSamples(agent.hostId), { hostId: agent.hostId, at: report.at, samples });
    }
  }
}
