import { microvmContext, microvmState, viewMicrovm, type MicrovmLife } from '#lifecycle';
import { parseImageReference, type Microvm, type MicrovmStateName } from '#protocol';
import { SortedIds } from './sorted-ids';

/** What a reader may ask of a list. */
export interface MicrovmFilter {
  state?: readonly MicrovmStateName[] | undefined;
  hostId?: string | undefined;
  tenant?: string | undefined;
  /** With its digest, or by its name alone. */
  image?: string | undefined;
  name?: string | undefined;
  /** Every given label must match. */
  labels?: Record<string, string> | undefined;
  limit: number;
  /** Id of the last item of the page before. */
  cursor?: string | undefined;
}

/** How many deleted microVMs stay findable in memory; all stay in the history. */
const TOMBSTONES = 10_000;

/** Folded lives by id, in order of age. Deleted ones move to a bounded set of tombstones. */
export class FleetIndex {
  readonly #lives = new Map<string, MicrovmLife>();
  readonly #tombstones = new Map<string, MicrovmLife>();
  readonly #living = new SortedIds();

  /** Living microVMs. */
  get size(): number {
    return this.#lives.size;
  }

  get(id: string): MicrovmLife | undefined {
    return this.#lives.get(id) ?? this.#tombstones.get(id);
  }

  set(life: MicrovmLife): void {
    if (microvmState(life) === 'deleted') {
      this.#lives.delete(life.id);
      this.#living.delete(life.id);
      this.#tombstones.set(life.id, life);
      if (this.#tombstones.size > TOMBSTONES) this.#tombstones.delete(this.#tombstones.keys().next().value!);
      return;
    }
    if (!this.#lives.has(life.id)) this.#living.add(life.id);
    this.#lives.set(life.id, life);
  }

  /** Living microVMs by state. */
  countByState(): Record<string, number> {
    const counts: Record<string, number> = {};
    for (const life of this.#lives.values()) {
      const state = microvmState(life);
      counts[state] = (counts[state] ?? 0) + 1;
    }
    return counts;
  }

  /** Living microVMs in order of their ids, from the first one after `cursor`. */
  *livesAfter(cursor: string | undefined): Generator<MicrovmLife> {
    for (const id of this.#living.after(cursor)) yield this.#lives.get(id)!;
  }

  /** Living microVMs in no particular order. */
  values(): IterableIterator<MicrovmLife> {
    return this.#lives.values();
  }

  list(filter: MicrovmFilter): { items: Microvm[]; nextCursor: string | null } {
    const items: Microvm[] = [];
    for (const life of this.#candidates(filter)) {
      if (!matches(life, filter)) continue;
      if (items.length === filter.limit) return { items, nextCursor: items[items.length - 1]!.id };
      items.push(viewMicrovm(life));
    }
    return { items, nextCursor: null };
  }

  *#candidates(filter: MicrovmFilter): Generator<MicrovmLife> {
    if (!filter.state?.includes('deleted')) {
      yield* this.livesAfter(filter.cursor);
      return;
    }
    const all = [...this.#lives.values(), ...this.#tombstones.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
    for (const life of all) if (filter.cursor === undefined || life.id > filter.cursor) yield life;
  }
}

function matches(life: MicrovmLife, filter: MicrovmFilter): boolean {
  const { spec, hostId } = microvmContext(life);
  if (filter.state && !filter.state.includes(microvmState(life))) return false;
  if (filter.hostId !== undefined && hostId !== filter.hostId) return false;
  if (filter.tenant !== undefined && spec.tenant !== filter.tenant) return false;
  if (filter.image !== undefined && spec.image !== filter.image && nameOf(spec.image) !== filter.image) return false;
  if (filter.name !== undefined && spec.name !== filter.name) return false;
  return Object.entries(filter.labels ?? {}).every(([key, value]) => spec.labels[key] === value);
}

/** The name of an image that a microVM's record pins to its content. */
function nameOf(image: string): string {
  return parseImageReference(image).name;
}
