import { commitmentOf, promisable, type Capacity, type Demand } from '#density';

export type Admitted = { admitted: true } | { admitted: false; reason: string };

/**
 * What this host has promised. Granting is one synchronous step over everything granted and not given back, launches in flight
 * included, so that no two commands can be granted the same slot. The overcommit limits are enforced here and nowhere else.
 */
export class Admission {
  readonly #granted = new Map<string, Demand>();

  constructor(readonly capacity: Capacity) {}

  get count(): number {
    return this.#granted.size;
  }

  commitment(): Demand {
    return commitmentOf(this.#granted.values());
  }

  /** Grants a slot, vCPUs and memory under this key, or says with numbers what is missing. Granting a key again changes nothing. */
  request(key: string, demand: Demand): Admitted {
    if (this.#granted.has(key)) return { admitted: true };
    const { capacity } = this;
    if (this.count >= capacity.slots) {
      return refusal(`no slot free: ${this.count} of ${capacity.slots} slots are in use`);
    }
    const committed = this.commitment();
    const most = promisable(capacity);
    if (committed.vcpus + demand.vcpus > most.vcpus) {
      return refusal(
        `not enough vCPUs: ${committed.vcpus} + ${demand.vcpus} vCPUs would exceed ${round(most.vcpus)} ` +
          `(${capacity.cpus} CPUs x overcommit ${capacity.overcommit.cpu})`,
      );
    }
    if (committed.memoryMiB + demand.memoryMiB > most.memoryMiB) {
      return refusal(
        `not enough memory: ${committed.memoryMiB} + ${demand.memoryMiB} MiB would exceed ${round(most.memoryMiB)} MiB ` +
          `((${capacity.memoryMiB} - ${capacity.reserveMiB}) MiB x overcommit ${capacity.overcommit.memory})`,
      );
    }
    this.#granted.set(key, demand);
    return { admitted: true };
  }

  /** Counts what the journal says was granted before: it runs, whatever the limits say now. */
  restore(key: string, demand: Demand): void {
    this.#granted.set(key, demand);
  }

  /** Gives back; to be called when the process has ended, not before. */
  release(key: string): void {
    this.#granted.delete(key);
  }
}

const refusal = (reason: string): Admitted => ({ admitted: false, reason });
const round = (value: number): number => Math.floor(value * 100) / 100;
