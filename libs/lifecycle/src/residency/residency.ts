/** The time that one incarnation was on a host. */
export interface Stay {
  readonly microvmId: string;
  readonly tenant: string;
  readonly hostId: string;
  readonly epoch: number;
  /** ms since 1970: it was placed. */
  readonly from: number;
  /** ms since 1970: its end became known; null: as far as is known it is still there. */
  readonly to: number | null;
}

/** What {@link Residency} reads of a record of a microVM's history. */
export interface ResidencyRecord {
  readonly microvmId: string;
  readonly at: number;
  readonly to: string;
  readonly events: readonly {
    readonly type: string;
    readonly hostId?: string;
    readonly epoch?: number;
    readonly spec?: { readonly tenant: string };
  }[];
}

/** Facts after which an incarnation is on its host no more. */
const ENDS = new Set(['exited', 'absent', 'erased', 'hostGone', 'suspended']);
/** What brings one to its host. */
const BEGINS = new Set(['placed', 'restoreRequested']);
/** States in which there is no incarnation, however it came to that. */
const NOWHERE = new Set(['stopped', 'failed', 'deleted', 'suspended']);

/**
 * Where the incarnations of one microVM were, from its history. An incarnation is on its host from its placement until its end is
 * known, or until it is suspended: what is on a disk shares nothing. While the host does not answer it counts as there; when it is started elsewhere, its old host has ended it by then. One
 * that its host refused was never there.
 */
export class Residency {
  #tenant = '';
  #stay: Omit<Stay, 'microvmId' | 'tenant' | 'to'> | undefined;

  /** Takes the next record of the history; gives the stays that it ends. */
  take(record: ResidencyRecord): Stay[] {
    const ended: Stay[] = [];
    const end = (): void => {
      const stay = this.at(record.microvmId);
      if (stay) ended.push({ ...stay, to: Math.max(stay.from, record.at) });
      this.#stay = undefined;
    };
    for (const { type, hostId, epoch, spec } of record.events) {
      if (type === 'requested' && spec) this.#tenant = spec.tenant;
      if (BEGINS.has(type) && hostId !== undefined && epoch !== undefined) {
        end();
        this.#stay = { hostId, epoch, from: record.at };
      }
      if (!this.#stay || this.#stay.hostId !== hostId || (epoch ?? this.#stay.epoch) !== this.#stay.epoch) continue;
      if (type === 'refused') this.#stay = undefined;
      else if (ENDS.has(type)) end();
    }
    if (NOWHERE.has(record.to)) end();
    return ended;
  }

  /** Where it is after the records taken so far; undefined: nowhere. */
  at(microvmId: string): Stay | undefined {
    return this.#stay && { microvmId, tenant: this.#tenant, ...this.#stay, to: null };
  }
}
