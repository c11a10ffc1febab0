import { Inject, Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { BusClient } from '#bus';
import { sampleOf } from '#density';
import { densityReport, groupsOf, microvmSamples, SHARED, type Occupancy } from '#protocol';
import type { Commitment } from '#scheduling';
import { HostAgent } from '../host-agent';
import type { SamplerRound } from './sampler-messages';

/** Samples in one message: far below what NATS takes. */
const CHUNK = 500;
/** With hundreds of tenants what they use is longer than all the rest of a report, so it is not in each. */
const TENANTS_EVERY_MS = 10_000;

/** Publishes what the host measures. Nobody has to listen. */
@Injectable()
export class DensityService implements OnApplicationBootstrap {
  #tenantsAt = 0;

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

  /** Whom something is promised here. */
  #tenants(): { tenant: string; microvms: number; commitment: Commitment }[] {
    const found = new Map<string, { tenant: string; microvms: number; commitment: Commitment }>();
    for (const { phase, spec } of this.agent.chronicle.state.incarnations.values()) {
      if (phase === 'ended') continue;
      const { tenant, vcpus, memoryMiB } = spec;
      let one = found.get(tenant);
      if (!one) found.set(tenant, (one = { tenant, microvms: 0, commitment: { vcpus: 0, memoryMiB: 0 } }));
      one.microvms++;
      one.commitment.vcpus += vcpus;
      one.commitment.memoryMiB += memoryMiB;
    }
    return [...found.values()];
  }

  #publish(round: SamplerRound): void {
    const { agent, bus } = this;
    if (bus.connection.isClosed() || bus.connection.isDraining()) return;
    const { incarnations } = agent.chronicle.state;
    const report = agent.density.host.report({
      hostId: agent.hostId,
      at: agent.clock.now(),
      capacity: agent.admission.capacity,
      commitment: agent.admission.commitment(),
      admitted: agent.admission.count,
      microvms: agent.density.count,
      tenants: this.#tenants(),
      tenantOf: (microvmId) => incarnations.get(microvmId)?.spec.tenant,
    });
    const { tenants, ...figures } = report;
    const isTurn = report.at - this.#tenantsAt >= TENANTS_EVERY_MS;
    if (isTurn) this.#tenantsAt = report.at;
    bus.publish(densityReport(agent.hostId), {
      ...figures,
      ...(isTurn ? { tenants } : {}),
      ...agent.promises(),
      occupancy: this.#occupancy(),
    });
    for (let i = 0; i < round.readings.length; i += CHUNK) {
      const samples = round.readings.slice(i, i + CHUNK).map(sampleOf);
      bus.publish(microvmSamples(agent.hostId), { hostId: agent.hostId, at: report.at, samples });
    }
  }
}
