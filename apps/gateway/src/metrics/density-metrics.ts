import { Gauge, type Registry } from 'prom-client';
import type { DensityReport, FleetDensity } from '#protocol';

const MIB = 1024 * 1024;

/** One gauge: its help, and its values by what is in braces, read from a report. Null: not measured there. */
interface Definition<Source> {
  help: string;
  /** Name of the label that tells the values apart; absent when there is one value. */
  label?: string;
  values: (source: Source) => Record<string, number | null>;
}

const only = (value: number) => ({ '': value });

const OF_HOST: Record<string, Definition<DensityReport>> = {
  volley_host_microvms: { help: 'MicroVMs on a host.', values: (r) => only(r.microvms) },
  volley_host_slots: { help: 'Slots of a host.', label: 'kind', values: (r) => ({ ...r.slots }) },
  volley_host_capacity_cpus: { help: 'CPUs of a host.', values: (r) => only(r.capacity.cpus) },
  volley_host_capacity_memory_bytes: { help: 'Memory of a host.', values: (r) => only(r.capacity.memoryMiB * MIB) },
  volley_host_reserve_memory_bytes: {
    help: 'Memory kept back for the host itself.',
    values: (r) => only(r.capacity.reserveMiB * MIB),
  },
  volley_host_commitment_vcpus: { help: 'vCPUs promised on a host.', values: (r) => only(r.commitment.vcpus) },
  volley_host_commitment_memory_bytes: {
    help: 'Memory promised on a host.',
    values: (r) => only(r.commitment.memoryMiB * MIB),
  },
  volley_host_used_cpu_cores: { help: 'CPU taken by the microVMs of a host.', values: (r) => only(r.used.cpuCores) },
  volley_host_used_memory_bytes: {
    help: 'Memory taken: proportional, private and overhead of the VMMs, and of the whole host.',
    label: 'kind',
    values: (r) => ({
      proportional: r.used.memoryMiB * MIB,
      private: r.used.privateMiB * MIB,
      overhead: r.used.overheadMiB * MIB,
      host: r.used.hostMemoryMiB * MIB,
    }),
  },
  volley_host_overcommit_ratio: {
    help: 'commitment / (capacity - reserve).',
    label: 'resource',
    values: (r) => ({ cpu: r.overcommit.cpu, memory: r.overcommit.memory }),
  },
  volley_host_overcommit_limit: {
    help: 'The overcommit ratio that admission enforces.',
    label: 'resource',
    values: (r) => ({ cpu: r.overcommit.cpuLimit, memory: r.overcommit.memoryLimit }),
  },
  volley_host_headroom_vcpus: { help: 'vCPUs admission would still grant.', values: (r) => only(r.headroom.vcpus) },
  volley_host_headroom_memory_bytes: {
    help: 'Memory admission would still grant.',
    values: (r) => only(r.headroom.memoryMiB * MIB),
  },
  volley_host_headroom_microvms: {
    help: 'MicroVMs of the mean size that still fit.',
    values: (r) => only(r.headroom.microvms),
  },
  volley_host_vcpu_wait_percent: {
    help: 'Time that vCPUs waited for a CPU.',
    label: 'quantile',
    values: (r) => ({ '0.5': r.vcpuWaitPercent.p50, '0.99': r.vcpuWaitPercent.p99 }),
  },
  volley_host_pressure_percent: { help: 'PSI avg10.', label: 'kind', values: (r) => ({ ...r.pressure }) },
  volley_host_density_timestamp_seconds: { help: 'When the host measured this.', values: (r) => only(r.at / 1000) },
  volley_host_sampling_cpu_seconds: {
    help: 'CPU that one round of measuring took.',
    values: (r) => only(r.samplingCpuMs / 1000),
  },
};

const OF_FLEET: Record<string, Definition<FleetDensity['fleet']>> = {
  volley_fleet_microvms: { help: 'MicroVMs on all hosts.', values: (f) => only(f.microvms) },
  volley_fleet_slots: { help: 'Slots of all hosts.', label: 'kind', values: (f) => ({ ...f.slots }) },
  volley_fleet_commitment_vcpus: { help: 'vCPUs promised.', values: (f) => only(f.commitment.vcpus) },
  volley_fleet_commitment_memory_bytes: { help: 'Memory promised.', values: (f) => only(f.commitment.memoryMiB * MIB) },
  volley_fleet_used_cpu_cores: { help: 'CPU taken by microVMs.', values: (f) => only(f.used.cpuCores) },
  volley_fleet_used_memory_bytes: {
    help: 'Proportional memory of all microVMs.',
    values: (f) => only(f.used.memoryMiB * MIB),
  },
  volley_fleet_overcommit_ratio: {
    help: 'commitment / (capacity - reserve).',
    label: 'resource',
    values: (f) => ({ ...f.overcommit }),
  },
  volley_fleet_headroom_vcpus: { help: 'vCPUs admission would still grant.', values: (f) => only(f.headroom.vcpus) },
  volley_fleet_headroom_memory_bytes: {
    help: 'Memory admission would still grant.',
    values: (f) => only(f.headroom.memoryMiB * MIB),
  },
  volley_fleet_headroom_slots: { help: 'Free slots.', values: (f) => only(f.headroom.slots) },
};

/** Density per host and of the fleet as gauges. */
export class DensityMetrics {
  readonly #host: [Definition<DensityReport>, Gauge][];
  readonly #fleet: [Definition<FleetDensity['fleet']>, Gauge][];

  constructor(registry: Registry) {
    const gauge = (name: string, help: string, labelNames: string[]) =>
      new Gauge({ name, help, labelNames, registers: [registry] });
    this.#host = Object.entries(OF_HOST).map(([name, definition]) => [
      definition,
      gauge(name, definition.help, ['host', ...(definition.label ? [definition.label] : [])]),
    ]);
    this.#fleet = Object.entries(OF_FLEET).map(([name, definition]) => [
      definition,
      gauge(name, definition.help, definition.label ? [definition.label] : []),
    ]);
  }

  /** Replaces everything: a host that is gone must not keep its last numbers. Undefined: nothing is known. */
  set(density: FleetDensity | undefined): void {
    for (const [definition, gauge] of this.#host) {
      gauge.reset();
      for (const report of density?.hosts ?? []) fill(gauge, definition, report, { host: report.hostId });
    }
    for (const [definition, gauge] of this.#fleet) {
      gauge.reset();
      if (density) fill(gauge, definition, density.fleet, {});
    }
  }
}

function fill<Source>(
  gauge: Gauge,
  { label, values }: Definition<Source>,
  source: Source,
  labels: Record<string, string>,
): void {
  for (const [kind, value] of Object.entries(values(source))) {
    if (value !== null) gauge.set(label ? { ...labels, [label]: kind } : labels, value);
  }
}
