import type { MicrovmClass, SnapshotPlatform } from '#protocol';
import type { Demand } from './demand';
import { Occupants } from './occupants';

export interface Amounts {
  slots: number;
  vcpus: number;
  memoryMiB: number;
}

/** A host as the scheduler sees it: what its history says and what it last reported, less what was placed since. */
export interface HostRow {
  readonly hostId: string;
  /** Only `ready` takes new microVMs. */
  state: string;
  kvm: boolean;
  /** Whether it boots stock Linux, and so any imported image. */
  linux: boolean;
  /** Whether microVMs can have a network device there. */
  network: boolean;
  /** Built-in images that it has. */
  images: readonly string[];
  /** Imported images whose content is there already. */
  cachedImages: readonly string[];
  labels: Readonly<Record<string, string>>;
  /** Of the snapshots that it restores; absent: it restores none. */
  snapshots?: SnapshotPlatform | undefined;
  /** The most it may promise. */
  capacity: Readonly<Amounts>;
  /** When its last report arrived, ms since 1970; null: none heard yet. */
  reportedAt: number | null;
  /** What its admission would still grant. */
  free: Amounts;
  /** What of that would be granted to the class `guaranteed`. */
  freeGuaranteed: Omit<Amounts, 'slots'>;
  /** Classes that its guards keep out. */
  shutTo: readonly MicrovmClass[];
  /** Worst of the pressure figures, percent. */
  pressurePercent: number;
  occupants: Occupants;
  /** microVMs there by group (see `groupOf`). */
  groups: Map<string, number>;
}

/** Takes a placement off a row. */
export function debitRow(row: HostRow, demand: Demand): void {
  row.free.slots -= 1;
  row.free.vcpus -= demand.vcpus;
  row.free.memoryMiB -= demand.memoryMiB;
  if (demand.class === 'guaranteed') {
    row.freeGuaranteed.vcpus -= demand.vcpus;
    row.freeGuaranteed.memoryMiB -= demand.memoryMiB;
  }
  row.occupants.add(demand);
  for (const group of demand.groups) row.groups.set(group, (row.groups.get(group) ?? 0) + 1);
}

/**
 * Every host, in a fixed order, with what is known of it. Changed by reports and by what is decided on it; the same changes in
 * the same order give the same table again, which is how receipts are read.
 */
export class HostTable {
  readonly #rows: HostRow[] = [];
  readonly #indices = new Map<string, number>();
  #drawing = new Uint32Array(0);
  #identity = new Uint32Array(0);

  get size(): number {
    return this.#rows.length;
  }

  get rows(): readonly HostRow[] {
    return this.#rows;
  }

  indexOf(hostId: string): number | undefined {
    return this.#indices.get(hostId);
  }

  /** Adds a host at the end, or puts what is known now in place of what was known of it. */
  set(row: HostRow): void {
    const index = this.#indices.get(row.hostId);
    if (index !== undefined) {
      this.#rows[index] = row;
      return;
    }
    this.#indices.set(row.hostId, this.#rows.length);
    this.#rows.push(row);
  }

  /** Forgets a host; the last one takes its place. */
  remove(hostId: string): void {
    const index = this.#indices.get(hostId);
    if (index === undefined) return;
    const last = this.#rows.pop()!;
    this.#indices.delete(hostId);
    if (last.hostId === hostId) return;
    this.#rows[index] = last;
    this.#indices.set(last.hostId, index);
  }

  /** Takes a placement off a host. */
  debit(hostId: string, demand: Demand): void {
    const row = this.#rows[this.#indices.get(hostId) ?? -1];
    if (row) debitRow(row, demand);
  }

  /** The numbers of all rows, to draw from. Valid until it is asked for again: a decision makes no garbage. */
  drawing(): Uint32Array {
    const { length } = this.#rows;
    if (this.#identity.length !== length) {
      this.#identity = Uint32Array.from({ length }, (_, i) => i);
      this.#drawing = new Uint32Array(length);
    }
    this.#drawing.set(this.#identity);
    return this.#drawing;
  }

  /** A table that can be changed without this one noticing. */
  copy(): HostTable {
    const copy = new HostTable();
    for (const row of this.#rows) {
      copy.set({
        ...row,
        free: { ...row.free },
        freeGuaranteed: { ...row.freeGuaranteed },
        occupants: new Occupants(row.occupants.entries()),
        groups: new Map(row.groups),
      });
    }
    return copy;
  }
}
