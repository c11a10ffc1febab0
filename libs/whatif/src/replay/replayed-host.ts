import {
  Admission,
  debitRow,
  headroomOf,
  Occupants,
  promisable,
  stillInFlight,
  type Admitted,
  type Capacity,
  type Demand,
  type HostRow,
  type InFlight,
  guaranteedHeadroom,
} from '#scheduling';
import type { HostDescription } from '#protocol';

/** A host of a replay: the books of its agent, and what the placement service knows of it. */
export class ReplayedHost {
  state: string | null;
  #admission: Admission;
  readonly #held = new Map<string, Demand>();
  readonly #groups = new Map<string, number>();
  #answered: string[] = [];
  #inFlight: InFlight[] = [];

  constructor(
    readonly hostId: string,
    private description: HostDescription,
    state: string | null,
    private capacity: Capacity,
  ) {
    this.state = state;
    this.#admission = new Admission(capacity);
  }

  get count(): number {
    return this.#admission.count;
  }

  get commitment() {
    return this.#admission.commitment();
  }

  get limits(): Capacity {
    return this.capacity;
  }

  /** Keys and demands of those that have a place here. */
  get held(): ReadonlyMap<string, Demand> {
    return this.#held;
  }

  /** It registered anew, perhaps with other limits: what is there stays there. */
  become(state: string | null, description: HostDescription, capacity: Capacity): void {
    this.state = state;
    this.description = description;
    this.limit(capacity);
  }

  /** It may promise so much from now on. */
  limit(capacity: Capacity): void {
    this.capacity = capacity;
    const admission = new Admission(capacity);
    for (const [key, demand] of this.#held) admission.restore(key, demand);
    this.#admission = admission;
  }

  /** The placement service has chosen it. */
  chosen(microvmId: string, demand: Demand, at: number): void {
    this.#inFlight.push({ microvmId, demand, at });
  }

  /** The start command: the same decision as on a host. */
  admit(key: string, demand: Demand): Admitted {
    const admitted = this.#admission.request(key, demand);
    this.#answered.push(key);
    if (admitted.admitted) this.#hold(key, demand);
    return admitted;
  }

  /** It was there when the record begins. */
  restore(key: string, demand: Demand): void {
    this.#admission.restore(key, demand);
    this.#hold(key, demand);
  }

  /** Its process has ended. */
  release(key: string): void {
    const demand = this.#held.get(key);
    if (!demand) return;
    this.#held.delete(key);
    this.#admission.release(key);
    for (const group of demand.groups) this.#groups.set(group, this.#groups.get(group)! - 1);
  }

  /** What the placement service knows of it after the report of `at`. */
  report(at: number): HostRow {
    const { description, capacity } = this;
    this.#inFlight = stillInFlight(this.#inFlight, this.#answered, at);
    this.#answered = [];
    const { slots, vcpus, memoryMiB } = headroomOf(capacity, this.#admission.commitment(), this.#admission.count);
    const most = promisable(capacity);
    const row: HostRow = {
      hostId: this.hostId,
      state: this.state ?? 'retired',
      kvm: description.kvm.available,
      linux: description.linux?.available ?? false,
      network: description.network?.available ?? false,
      images: description.images,
      cachedImages: [],
      labels: description.labels,
      capacity: { slots: capacity.slots, vcpus: most.vcpus, memoryMiB: most.memoryMiB },
      // Always fresh: a host of a replay reports when something has changed.
      reportedAt: Infinity,
      free: { slots, vcpus, memoryMiB },
      freeGuaranteed: guaranteedHeadroom(capacity, this.#admission.guaranteed()),
      shutTo: [],
      pressurePercent: 0,
      occupants: new Occupants(this.#admission.occupants()),
      groups: new Map([...this.#groups].filter(([, count]) => count > 0)),
    };
    for (const { demand } of this.#inFlight) debitRow(row, demand);
    return row;
  }

  #hold(key: string, demand: Demand): void {
    this.#held.set(key, demand);
    for (const group of demand.groups) this.#groups.set(group, (this.#groups.get(group) ?? 0) + 1);
  }
}
