import { Gauge, type Registry } from 'prom-client';
import type { DensityReport, FleetDensity } from '#protocol';
import { CountedMetric } from './counted-metric';
import { fillGauge, only, type GaugeDefinition } from './gauge-definition';
import { TenantMetrics } from './tenant-metrics';

const KIB = 1024;
const MIB = 1024 * KIB;

/** Without its total, and without the unit in the names of its parts. */
const partsOf = (parts: object | null | undefined, unit: RegExp, scale: number): Record<string, number> =>
  Object.fromEntries(
    Object.entries(parts ?? {})
      .filter(([name]) => !name.startsWith('total'))
      .map(([name, value]: [string, number]) => [name.replace(unit, ''), value * scale]),
  );

const OF_HOST: Record<string, GaugeDefinition<DensityReport>> = {
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
  volley_host_latest_vcpu_wait_ratio: {
    help: 'Share of the time that vCPUs waited for a CPU: percentiles over the latest of each microVM.',
    label: 'percentile',
    values: (r) => ({ '50': r.vcpuWaitPercent.p50 / 100, '99': r.vcpuWaitPercent.p99 / 100 }),
  },
  volley_host_reserved_cpus: {
    help: 'CPU time that the kernel keeps for guaranteed vCPUs, in CPUs.',
    values: (r) => only(r.cpuReservations?.cpus ?? null),
  },
  volley_host_pressure_ratio: {
    help: 'PSI over ten seconds: share of the time in which work was held up.',
    label: 'kind',
    values: (r) =>
      Object.fromEntries(Object.entries(r.pressure).map(([kind, v]) => [kind, v === null ? null : v / 100])),
  },
  volley_host_density_timestamp_seconds: { help: 'When the host measured this.', values: (r) => only(r.at / 1000) },
  volley_host_memory_bytes: {
    help: 'Where the memory of a host is: disjoint parts whose sum is all of it.',
    label: 'part',
    values: (r) => partsOf(r.memory, /KiB$/, KIB),
  },
  volley_host_cpu_cores: {
    help: 'Where the CPU time of a host goes: disjoint parts whose sum is the number of its CPUs.',
    label: 'part',
    values: (r) => partsOf(r.cpu, /Cores$/, 1),
  },
  volley_host_marginal_cost_bytes: {
    help: 'Memory that one more microVM takes beyond its own guest pages.',
    values: (r) => only(r.marginalCost ? r.marginalCost.kib * KIB : null),
  },
  volley_host_fits_microvms: {
    help: 'How many more microVMs of the mean size fit, by each of what they need.',
    label: 'by',
    values: (r) =>
      r.fits
        ? {
            ...{ slots: r.fits.slots, vcpus: r.fits.vcpus, promisedMemory: r.fits.promisedMemory },
            availableMemory: r.fits.availableMemory,
          }
        : {},
  },
  volley_host_memory_exhaustion_seconds: {
    help: 'Time until the memory is used up if it goes on like this; absent without a trend.',
    values: (r) => only(r.exhaustion?.seconds ?? null),
  },
};

const OF_FLEET: Record<string, GaugeDefinition<FleetDensity['fleet']>> = {
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

/** Counters of a host's agent; they begin anew with it. */
const COUNTED = {
  volley_host_vcpu_run_seconds_total: {
    ...{ help: 'Time that vCPUs ran on a CPU.', type: 'counter' },
    tell: (metric, labels, { vcpuRunSeconds }) => metric.count(labels, vcpuRunSeconds),
  },
  volley_host_vcpu_wait_seconds_total: {
    ...{ help: 'Time that vCPUs wanted a CPU and had none.', type: 'counter' },
    tell: (metric, labels, { vcpuWaitSeconds }) => metric.count(labels, vcpuWaitSeconds),
  },
  volley_host_sampling_cpu_seconds_total: {
    ...{ help: 'CPU that measuring took.', type: 'counter' },
    tell: (metric, labels, { samplingCpuSeconds }) => metric.count(labels, samplingCpuSeconds),
  },
  volley_host_vcpu_wait_ratio: {
    ...{
      help: 'Share of the time that the vCPUs of a microVM waited for a CPU, once per measurement.',
      type: 'histogram',
    },
    tell: (metric, labels, { vcpuWaitRatio }) => metric.histogram(labels, vcpuWaitRatio),
  },
  volley_host_start_duration_seconds: {
    ...{ help: 'From admission on the host to the boot-timer write of the guest.', type: 'histogram' },
    tell: (metric, labels, { startSeconds }) => metric.histogram(labels, startSeconds),
  },
} as const satisfies Record<string, CountedDefinition>;

interface CountedDefinition {
  help: string;
  type: 'counter' | 'histogram';
  tell: (
    metric: CountedMetric,
    labels: Record<string, string>,
    counters: NonNullable<DensityReport['counters']>,
  ) => void;
}

/** Density per host, of the fleet and of the largest tenants. */
export class DensityMetrics {
  readonly #host: [GaugeDefinition<DensityReport>, Gauge][];
  readonly #fleet: [GaugeDefinition<FleetDensity['fleet']>, Gauge][];
  readonly #counted: [CountedDefinition, CountedMetric][];
  readonly #tenants: TenantMetrics;

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
    this.#counted = Object.entries<CountedDefinition>(COUNTED).map(([name, definition]) => [
      definition,
      new CountedMetric({ name, help: definition.help, type: definition.type }, registry),
    ]);
    this.#tenants = new TenantMetrics(registry);
  }

  /** Replaces everything: a host that is gone must not keep its last numbers. Undefined: nothing is known. */
  set(density: FleetDensity | undefined): void {
    for (const [definition, gauge] of this.#host) {
      gauge.reset();
      for (const report of density?.hosts ?? []) fillGauge(gauge, definition, report, { host: report.hostId });
    }
    for (const [definition, gauge] of this.#fleet) {
      gauge.reset();
      if (density) fillGauge(gauge, definition, density.fleet, {});
    }
    for (const [definition, metric] of this.#counted) {
      metric.clear();
      for (const { hostId, counters } of density?.hosts ?? [])
        if (counters) definition.tell(metric, { host: hostId }, counters);
    }
    this.#tenants.set(density?.tenants ?? []);
  }
}
