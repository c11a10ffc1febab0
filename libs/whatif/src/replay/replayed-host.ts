import {
  Admission,
  headroomOf,
  Occupants,
  promisable,
  type Admitted,
  type Capacity,
  type Demand,
  type HostRow,
  guaranteedHeadroom,
} from '#scheduling';
import type { HostDescription } from '#protocol';

/** A host of a replay: the books of its agent, and what the placement service knows of it. */
export class ReplayedHost {
  state: string | null;
  #admission: Admission;
  readonly #held = new Map<string, Demand>();
  /** What the placement service knows of it; undefined: it has to be made anew. */
  #row: HostRow | undefined;
  /** What has come and gone since the last report, as far as that row does not have it: placement takes down what it places itself. */
  readonly #came: Demand[] = [];
  readonly #went: Demand[] = [];

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
    this.#row = undefined;
    this.capacity = capacity;
    const admission = new Admission(capacity);
    for (const [key, demand] of this.#held) admission.restore(key, demand);
    this.#admission = admission;
  }

  /** The start command: the same decision as on a host. `taken`: the placement service has taken it off the row already. */
  admit(key: string, demand: Demand, taken: boolean): Admitted {
    const admitted = this.#admission.request(key, demand);
    if (admitted.admitted) this.#held.set(key, demand);
    if (admitted.admitted && !taken) this.#came.push(demand);
    if (!admitted.admitted && taken) this.#went.push(demand);
    return admitted;
  }

  /** It was there when the record begins. */
  restore(key: string, demand: Demand): void {
    this.#admission.restore(key, demand);
    this.#held.set(key, demand);
    this.#came.push(demand);
  }

  /** Its process has ended. */
  release(key: string): void {
    const demand = this.#held.get(key);
    if (!demand) return;
    this.#held.delete(key);
    this.#admission.release(key);
    this.#went.push(demand);
  }

  /**
   * What the placement service knows of it after a report. A decision and the start that follows are one instant, so nothing is in flight by then.
   * Only what has changed is counted: a host with hundreds of tenants reports as fast as one with few.
   */
  report(): HostRow {
    const row = (this.#row ??= this.#blank());
    const { capacity } = this;
    const { slots, vcpus, memoryMiB } = headroomOf(capacity, this.#admission.commitment(), this.#admission.count);
    row.state = this.state ?? 'retired';
    row.free = { slots, vcpus, memoryMiB };
    row.freeGuaranteed = guaranteedHeadroom(capacity, this.#admission.guaranteed());
    for (const demand of this.#came.splice(0)) count(row, demand, 1);
    for (const demand of this.#went.splice(0)) count(row, demand, -1);
    return row;
  }

  /** Of nobody; all that is here comes with the next count. */
  #blank(): HostRow {
    const { description, capacity } = this;
    const most = promisable(capacity);
    this.#went.length = 0;
    this.#came.length = 0;
    this.#came.push(...this.#held.values());
    return {
      hostId: this.hostId,
      state: 'retired',
      kvm: description.kvm.available,
      linux: description.linux?.available ?? false,
      network: description.network?.available ?? false,
      images: description.images,
      cachedImages: [],
      labels: description.labels,
      capacity: { slots: capacity.slots, vcpus: most.vcpus, memoryMiB: most.memoryMiB },
      // Always fresh: a host of a replay reports when something has changed.
      reportedAt: Infinity,
      free: { slots: 0, vcpus: 0, memoryMiB: 0 },
      freeGuaranteed: { vcpus: 0, memoryMiB: 0 },
      shutTo: [],
      pressurePercent: 0,
      occupants: new Occupants(),
      groups: new Map(),
    };
  }
}

function count({ occupants, groups }: HostRow, demand: Demand, sign: 1 | -1): void {
  if (sign === 1) occupants.add(demand);
  else occupants.remove(demand);
  for (const group of demand.groups) {
    const now = (groups.get(group) ?? 0) + sign;
    if (now > 0) groups.set(group, now);
    else groups.delete(group);
  }
}
