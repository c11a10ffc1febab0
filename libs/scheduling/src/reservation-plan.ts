/** Of each CPU, what may be reserved for guaranteed vCPUs: the rest is for the host's own programs and for best effort, whatever guests do. */
const RESERVABLE = 1 / 2;
/** A vCPU's part of a CPU: the largest of these with which there is enough for all that are watched. */
const SHARES = [1 / 2, 1 / 4, 1 / 8, 1 / 16] as const;
/** A window is calm when no more than this part of the reservation was used. */
const CALM = 0.8;
/** Calm windows in a row before the first reservation: who boots or computes asks for more than it would get. */
const CALM_WINDOWS = 3;
/** Each time more was used than was reserved, twice as many are asked for, up to these. */
const MOST_CALM_WINDOWS = 300;
/** After so many with its reservation all of that is forgotten. */
const FORGIVEN_AFTER = 120;

interface Watched {
  isReserved: boolean;
  /** In a row, whether reserved or not. */
  calm: number;
  /** Calm windows that it takes. */
  needed: number;
}

/**
 * Decides which vCPUs have CPU time reserved, and how much, from what they use, window by window. A reservation goes before everything that
 * has none, so it is for vCPUs that need a CPU seldom, and then at once. Who computes loses it and lives by its weight as before: no guest can
 * keep the host from its own work for longer than a window or two by behaving well first, each attempt takes twice as long as the one before,
 * and all together have at most half of the CPUs reserved.
 */
export class ReservationPlan<Vcpu> {
  /** In the order in which they came. */
  readonly #vcpus = new Map<Vcpu, Watched>();
  readonly #mostWatched: number;

  constructor(private readonly cpus: number) {
    this.#mostWatched = Math.floor((cpus * RESERVABLE) / SHARES.at(-1)!);
  }

  add(vcpu: Vcpu): void {
    this.#vcpus.set(vcpu, { isReserved: false, calm: 0, needed: CALM_WINDOWS });
  }

  remove(vcpu: Vcpu): void {
    this.#vcpus.delete(vcpu);
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
   * One window has passed.
   * @param used parts of a CPU that watched vCPUs used in it; those that are missing were not measured, and stay as they are
   * @returns who is to have {@link share} reserved from now on
   */
  round(used: ReadonlyMap<Vcpu, number>): Set<Vcpu> {
    const { share } = this;
    const reserved = new Set<Vcpu>();
    for (const vcpu of this.watched) {
      const one = this.#vcpus.get(vcpu)!;
      const use = used.get(vcpu);
      if (use !== undefined) judge(one, use / share);
      if (one.isReserved) reserved.add(vcpu);
    }
    return reserved;
  }
}

/** @param use part of what is or would be reserved */
function judge(one: Watched, use: number): void {
  if (one.isReserved && use > 1) {
    one.isReserved = false;
    one.needed = Math.min(MOST_CALM_WINDOWS, one.needed * 2);
  }
  one.calm = use <= CALM || (one.isReserved && use <= 1) ? one.calm + 1 : 0;
  if (one.calm >= one.needed) one.isReserved = true;
  if (one.isReserved && one.calm >= one.needed + FORGIVEN_AFTER) one.needed = CALM_WINDOWS;
}
