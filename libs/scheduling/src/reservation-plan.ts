/** Of each CPU, what may be reserved for guaranteed vCPUs: the rest is for the host's own programs and for best effort, whatever guests do. */
const RESERVABLE = 1 / 2;
/** A vCPU's part of a CPU: the larger one, if there is enough for all that are watched. */
const SHARES = [1 / 2, 1 / 4] as const;
/** Calm is who leaves this part of a CPU of its reservation. Who does not gives it back: it could be used up before the next look, and the vCPU would stand still. */
const MARGIN = 1 / 10;

/** How long a vCPU must have been calm for a reservation, in looks: who boots or computes needs more than it would get. */
export const CALM_LOOKS = 30;

interface Watched {
  isReserved: boolean;
  /** Looks in a row. */
  calm: number;
}

/**
 * Decides which vCPUs have CPU time reserved, and how much, from what they used in the second before each look, ten times a second. A reservation goes
 * before everything that has none, and ends where it is used up. So it is for vCPUs that need a CPU seldom, and then at once. Who computes gives it
 * back in time and lives by its weight as before. All together have at most half of the CPUs, also when nobody looks any more.
 */
export class ReservationPlan<Vcpu> {
  /** In the order in which they came. */
  readonly #vcpus = new Map<Vcpu, Watched>();
  readonly #mostWatched: number;

  constructor(private readonly cpus: number) {
    this.#mostWatched = Math.floor((cpus * RESERVABLE) / SHARES.at(-1)!);
  }

  add(vcpu: Vcpu): void {
    this.#vcpus.set(vcpu, { isReserved: false, calm: 0 });
  }

  remove(vcpu: Vcpu): void {
    this.#vcpus.delete(vcpu);
  }

  /** Nobody has looked for too long: nobody has a reservation any more, or is known to be calm. */
  forget(): void {
    for (const vcpu of this.watched) this.add(vcpu);
  }

  /** Whose use is to be measured: those that came first, as many as there is something to reserve for. */
  get watched(): Vcpu[] {
    const first: Vcpu[] = [];
    for (const vcpu of this.#vcpus.keys()) {
      if (first.length === this.#mostWatched) break; // there may be thousands
      first.push(vcpu);
    }
    return first;
  }

  /** The part of a CPU that each reservation has; 0: nobody is watched. */
  get share(): number {
    const count = Math.min(this.#vcpus.size, this.#mostWatched);
    return count === 0 ? 0 : SHARES.find((share) => share * count <= this.cpus * RESERVABLE)!;
  }

  /**
   * @param used parts of a CPU that watched vCPUs used in the last second; those that are missing were not measured, and stay as they are
   * @returns who is to have {@link share} reserved from now on
   */
  look(used: ReadonlyMap<Vcpu, number>): Set<Vcpu> {
    const { share } = this;
    const reserved = new Set<Vcpu>();
    for (const vcpu of this.watched) {
      const one = this.#vcpus.get(vcpu)!;
      const use = used.get(vcpu);
      if (use !== undefined) {
        one.calm = use <= share - MARGIN ? one.calm + 1 : 0;
        one.isReserved = one.isReserved ? one.calm > 0 : one.calm >= CALM_LOOKS;
      }
      if (one.isReserved) reserved.add(vcpu);
    }
    return reserved;
  }
}
