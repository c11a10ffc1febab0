import type { Quotas } from '#protocol';

/** What one microVM counts for. A resting one, which neither holds nor wants a host, has no vCPUs and no memory. */
export interface Holding {
  readonly tenant: string;
  readonly vcpus: number;
  readonly memoryMiB: number;
}

/** What a tenant holds, or would hold more. */
export interface Demand {
  readonly microvms: number;
  readonly vcpus: number;
  readonly memoryMiB: number;
}

const MOST_SIZES = 10_000;
const NOTHING: Demand = { microvms: 0, vcpus: 0, memoryMiB: 0 };

/** What every tenant holds, microVM by microVM. Saying the same of a microVM again changes nothing, so nothing is counted twice. */
export class QuotaLedger {
  readonly #holdings = new Map<string, Holding>();
  /** One object for each size that a tenant has: fleets hold many microVMs of few sizes. */
  readonly #sizes = new Map<string, Holding>();
  readonly #sums = new Map<string, Demand>();

  get(microvmId: string): Holding | undefined {
    return this.#holdings.get(microvmId);
  }

  /** What a microVM counts for from now on; undefined: nothing any more. */
  set(microvmId: string, holding: Holding | undefined): void {
    const before = this.#holdings.get(microvmId);
    if (before) this.#add(before, -1);
    if (!holding) {
      this.#holdings.delete(microvmId);
      return;
    }
    this.#holdings.set(microvmId, this.#shared(holding));
    this.#add(holding, 1);
  }

  sum(tenant: string): Demand {
    return this.#sums.get(tenant) ?? NOTHING;
  }

  #shared(holding: Holding): Holding {
    const size = `${holding.tenant} ${holding.vcpus} ${holding.memoryMiB}`;
    const known = this.#sizes.get(size);
    if (known) return known;
    if (this.#sizes.size >= MOST_SIZES) this.#sizes.clear();
    this.#sizes.set(size, holding);
    return holding;
  }

  #add({ tenant, vcpus, memoryMiB }: Holding, sign: 1 | -1): void {
    const now = this.sum(tenant);
    const microvms = now.microvms + sign;
    if (microvms === 0) this.#sums.delete(tenant);
    else
      this.#sums.set(tenant, {
        microvms,
        vcpus: now.vcpus + sign * vcpus,
        memoryMiB: now.memoryMiB + sign * memoryMiB,
      });
  }
}

/** Which bounds `more` would break: one entry each, with the numbers. None: it fits. */
export function excessOf(quotas: Quotas, held: Demand, more: Demand): { path: string; message: string }[] {
  return (['microvms', 'vcpus', 'memoryMiB'] as const).flatMap((what) => {
    const most = quotas[what];
    if (most === undefined || more[what] === 0 || held[what] + more[what] <= most) return [];
    return [
      { path: `quotas.${what}`, message: `${held[what]} of ${most} are in use, ${more[what]} more were asked for` },
    ];
  });
}
