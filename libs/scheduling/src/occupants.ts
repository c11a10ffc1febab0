import { SHARED, type Coresidency } from '#protocol';

/** One microVM's tenant, with the rules it was admitted under. */
export interface Occupant {
  tenant: string;
  coresidency: Coresidency;
}

export interface CountedOccupant extends Occupant {
  count: number;
}

/** Whether microVMs of these two may be on one host. It is enough that one of them objects. */
export function mayShare(a: Occupant, b: Occupant): boolean {
  return a.tenant === b.tenant || !(objectsTo(a, b.tenant) || objectsTo(b, a.tenant));
}

function objectsTo({ coresidency }: Occupant, other: string): boolean {
  return coresidency.mode === 'dedicated' || coresidency.neverWith.includes(other);
}

function isRestricted({ coresidency }: Occupant): boolean {
  return coresidency.mode === 'dedicated' || coresidency.neverWith.length > 0;
}

/**
 * Who is on a host, by tenant and rules. The rules of one tenant may have changed between two admissions; everybody there is
 * held to those it came under.
 */
export class Occupants {
  readonly #entries = new Map<string, CountedOccupant>();
  #restricted = 0;

  constructor(entries: Iterable<CountedOccupant> = []) {
    for (const entry of entries) this.add(entry, entry.count);
  }

  entries(): IterableIterator<CountedOccupant> {
    return this.#entries.values();
  }

  /** microVMs of one tenant. */
  countOf(tenant: string): number {
    let count = 0;
    for (const entry of this.#entries.values()) if (entry.tenant === tenant) count += entry.count;
    return count;
  }

  /** Whether a microVM may join those who are here. */
  accepts(newcomer: Occupant): boolean {
    if (this.#restricted === 0 && !isRestricted(newcomer)) return true;
    for (const entry of this.#entries.values()) if (!mayShare(entry, newcomer)) return false;
    return true;
  }

  add({ tenant, coresidency }: Occupant, count = 1): void {
    const key = keyOf(tenant, coresidency);
    const entry = this.#entries.get(key);
    if (entry) {
      entry.count += count;
      return;
    }
    const restricted = isRestricted({ tenant, coresidency });
    this.#entries.set(key, { tenant, coresidency: restricted ? coresidency : SHARED, count });
    if (restricted) this.#restricted++;
  }

  remove({ tenant, coresidency }: Occupant): void {
    const key = keyOf(tenant, coresidency);
    const entry = this.#entries.get(key);
    if (!entry || --entry.count > 0) return;
    this.#entries.delete(key);
    if (isRestricted(entry)) this.#restricted--;
  }
}

function keyOf(tenant: string, { mode, neverWith }: Coresidency): string {
  return mode === 'shared' && neverWith.length === 0 ? tenant : `${tenant} ${mode} ${[...neverWith].sort().join(' ')}`;
}
