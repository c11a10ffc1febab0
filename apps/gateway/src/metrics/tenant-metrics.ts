import { Gauge, type Registry } from 'prom-client';
import type { TenantUsage } from '#protocol';
import { fillGauge, only, type GaugeDefinition } from './gauge-definition';

const KIB = 1024;
const MIB = 1024 * KIB;

/** Tenants that are told one by one. All others together are `other`, so that tenants do not make the series of a scrape. */
export const TENANTS_TOLD = 50;
export const OTHER = 'other';

type Figures = Pick<TenantUsage, 'microvms' | 'commitment'> & { cpuCores: number; proportionalKiB: number };

const DEFINITIONS: Record<string, GaugeDefinition<Figures>> = {
  volley_tenant_microvms: { help: 'MicroVMs of a tenant on all hosts.', values: (t) => only(t.microvms) },
  volley_tenant_commitment_vcpus: { help: 'vCPUs promised to a tenant.', values: (t) => only(t.commitment.vcpus) },
  volley_tenant_commitment_memory_bytes: {
    help: 'Memory promised to a tenant.',
    values: (t) => only(t.commitment.memoryMiB * MIB),
  },
  volley_tenant_used_cpu_cores: { help: 'CPU taken by the microVMs of a tenant.', values: (t) => only(t.cpuCores) },
  volley_tenant_used_memory_bytes: {
    help: 'Proportional memory of the microVMs of a tenant.',
    values: (t) => only(t.proportionalKiB * KIB),
  },
};

/** Density of the largest tenants, and of all others together. */
export class TenantMetrics {
  readonly #gauges: [GaugeDefinition<Figures>, Gauge][];

  constructor(registry: Registry) {
    this.#gauges = Object.entries(DEFINITIONS).map(([name, definition]) => [
      definition,
      new Gauge({ name, help: definition.help, labelNames: ['tenant'], registers: [registry] }),
    ]);
  }

  set(tenants: readonly TenantUsage[]): void {
    const figures = tenants.map(({ tenant, microvms, commitment, used }) => ({
      ...{ tenant, microvms, commitment, cpuCores: used.cpuCores, proportionalKiB: used.proportionalKiB },
    }));
    // A tenant may be called `other`: then it is one of the others.
    const isTold = (tenant: string, index: number): boolean => index < TENANTS_TOLD && tenant !== OTHER;
    const told = figures.filter(({ tenant }, index) => isTold(tenant, index));
    const others = figures.filter(({ tenant }, index) => !isTold(tenant, index));
    for (const [definition, gauge] of this.#gauges) {
      gauge.reset();
      for (const { tenant, ...rest } of told) fillGauge(gauge, definition, rest, { tenant });
      if (others.length > 0) fillGauge(gauge, definition, others.reduce<Figures>(added, NOTHING), { tenant: OTHER });
    }
  }
}

const NOTHING: Figures = { microvms: 0, commitment: { vcpus: 0, memoryMiB: 0 }, cpuCores: 0, proportionalKiB: 0 };

function added(sum: Figures, more: Figures): Figures {
  return {
    microvms: sum.microvms + more.microvms,
    commitment: {
      vcpus: sum.commitment.vcpus + more.commitment.vcpus,
      memoryMiB: sum.commitment.memoryMiB + more.commitment.memoryMiB,
    },
    cpuCores: sum.cpuCores + more.cpuCores,
    proportionalKiB: sum.proportionalKiB + more.proportionalKiB,
  };
}
