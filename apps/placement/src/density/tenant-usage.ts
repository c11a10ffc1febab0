import { addUsages, noUsage } from '#density';
import { TENANTS_REPORTED, type DensityReport, type TenantUsage } from '#protocol';

/** A host that has not told of its tenants for so long is in no sum, ms. */
const FORGOTTEN_AFTER_MS = 60_000;

/** What tenants use on all hosts. Hosts tell of it less often than of themselves. */
export class TenantUsages {
  readonly #ofHost = new Map<string, { atMs: number; tenants: TenantUsage[] }>();

  reported({ hostId, tenants }: DensityReport, atMs: number): void {
    if (tenants) this.#ofHost.set(hostId, { atMs, tenants });
  }

  of(tenant: string, nowMs: number): TenantUsage {
    return this.#sums(nowMs, tenant).get(tenant) ?? nothingOf(tenant);
  }

  /** The largest, by microVMs. */
  largest(nowMs: number): TenantUsage[] {
    const sums = [...this.#sums(nowMs).values()];
    return sums.sort((a, b) => b.microvms - a.microvms || (a.tenant < b.tenant ? -1 : 1)).slice(0, TENANTS_REPORTED);
  }

  #sums(nowMs: number, only?: string): Map<string, TenantUsage> {
    const sums = new Map<string, TenantUsage>();
    for (const [hostId, { atMs, tenants }] of this.#ofHost) {
      if (nowMs - atMs > FORGOTTEN_AFTER_MS) {
        this.#ofHost.delete(hostId);
        continue;
      }
      for (const { tenant, microvms, commitment, used } of tenants) {
        if (only !== undefined && tenant !== only) continue;
        let sum = sums.get(tenant);
        if (!sum) sums.set(tenant, (sum = nothingOf(tenant)));
        sum.microvms += microvms;
        sum.commitment.vcpus += commitment.vcpus;
        sum.commitment.memoryMiB += commitment.memoryMiB;
        addUsages(sum.used, used);
      }
    }
    return sums;
  }
}

function nothingOf(tenant: string): TenantUsage {
  return { tenant, microvms: 0, commitment: { vcpus: 0, memoryMiB: 0 }, used: noUsage() };
}
