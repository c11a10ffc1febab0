import { classOf, type MicrovmClass } from '#protocol';
import { promisable, promisableGuaranteed, type Capacity, type Commitment, type Overcommit } from './capacity';
import { OPEN_GATES, type Gates } from './guards/gates';
import { Occupants, type CountedOccupant, type Occupant } from './occupants';

/** What one microVM is granted, and whose it is. */
export type Grant = Commitment & Occupant & { class?: MicrovmClass | undefined };

export type Admitted = { admitted: true } | { admitted: false; reason: string };

/**
 * What this host has promised. Granting is one synchronous step over everything granted and not given back, launches in flight
 * included, so that no two commands can be granted the same slot, and no two tenants a host that they may not share. The overcommit
 * limits are enforced here and nowhere else.
 */
export class Admission {
  readonly #granted = new Map<string, Grant>();
  readonly #occupants = new Occupants();
  /** Sum over #granted; whole numbers, so adding and taking away leaves no dirt. */
  readonly #sum: Commitment = { vcpus: 0, memoryMiB: 0 };
  /** The part of it that is guaranteed. */
  readonly #guaranteed: Commitment = { vcpus: 0, memoryMiB: 0 };
  #capacity: Capacity;
  #gates: Gates = OPEN_GATES;

  constructor(capacity: Capacity) {
    this.#capacity = capacity;
  }

  get capacity(): Capacity {
    return this.#capacity;
  }

  /** From now on so much may be promised. What was granted stays granted, also where it is more. */
  promise(overcommit: Overcommit): void {
    this.#capacity = { ...this.#capacity, overcommit };
  }

  /** Whom the guards let in from now on. */
  guard(gates: Gates): void {
    this.#gates = gates;
  }

  get count(): number {
    return this.#granted.size;
  }

  commitment(): Commitment {
    return { ...this.#sum };
  }

  /** The part of the commitment that is of the class `guaranteed`. */
  guaranteed(): Commitment {
    return { ...this.#guaranteed };
  }

  /** Whose microVMs hold something here. */
  occupants(): readonly CountedOccupant[] {
    return [...this.#occupants.entries()];
  }

  /** Grants a slot, vCPUs and memory under this key, or says with numbers what is missing. Granting a key again changes nothing. */
  request(key: string, demand: Grant): Admitted {
    if (this.#granted.has(key)) return { admitted: true };
    // No names: a tenant does not learn whom it is kept apart from.
    if (!this.#occupants.accepts(demand)) {
      return refusal('co-residency: this host has microVMs of tenants that may not share it with this one');
    }
    const of = classOf(demand);
    const gate = this.#gates[of];
    if (!gate.open) return refusal(`guard: no ${of} microVMs are let in: ${gate.reason ?? 'it is shut'}`);
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
    return of === 'guaranteed' ? this.#requestGuaranteed(key, demand) : this.#grant(key, demand);
  }

  #requestGuaranteed(key: string, demand: Grant): Admitted {
    const most = promisableGuaranteed(this.capacity);
    const held = this.#guaranteed;
    const exceeded =
      held.vcpus + demand.vcpus > most.vcpus
        ? `vCPUs: ${held.vcpus} + ${demand.vcpus} vCPUs would exceed ${round(most.vcpus)}`
        : held.memoryMiB + demand.memoryMiB > most.memoryMiB
          ? `memory: ${held.memoryMiB} + ${demand.memoryMiB} MiB would exceed ${round(most.memoryMiB)} MiB`
          : undefined;
    if (exceeded === undefined) return this.#grant(key, demand);
    return refusal(`not enough guaranteed ${exceeded}, the most that may be guaranteed here`);
  }

  #grant(key: string, demand: Grant): Admitted {
    this.restore(key, demand);
    return { admitted: true };
  }

  /** Counts what the journal says was granted before: it runs, whatever the limits say now. */
  restore(key: string, demand: Grant): void {
    this.release(key);
    this.#granted.set(key, demand);
    this.#occupants.add(demand);
    this.#count(demand, 1);
  }

  /** Gives back; to be called when the process has ended, not before. */
  release(key: string): void {
    const demand = this.#granted.get(key);
    if (!demand) return;
    this.#granted.delete(key);
    this.#occupants.remove(demand);
    this.#count(demand, -1);
  }

  #count(grant: Grant, sign: 1 | -1): void {
    const { vcpus, memoryMiB } = grant;
    for (const sum of classOf(grant) === 'guaranteed' ? [this.#sum, this.#guaranteed] : [this.#sum]) {
      sum.vcpus += sign * vcpus;
      sum.memoryMiB += sign * memoryMiB;
    }
  }
}

const refusal = (reason: string): Admitted => ({ admitted: false, reason });
const round = (value: number): number => Math.floor(value * 100) / 100;
