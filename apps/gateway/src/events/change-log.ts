import type { FleetChange, FleetView } from '#fleet';
import { ViewKind } from '#protocol';
import { groupEntryForTenant } from '../groups/group-view';
import type { TenantView } from '../tenancy/tenant-view';
import { formatPosition, type Position } from './position';

/** One change, with what is written to every listener. */
export interface LoggedChange {
  readonly kind: FleetChange['kind'];
  /** Of the stream of its kind. */
  readonly sequence: number;
  /** Whose change it is. */
  readonly subjectId: string;
  /** As a server-sent event; made once, when the first listener needs it. */
  readonly frame: string;
  /** As a tenant sees it; undefined: not at all. */
  frameFor(view: TenantView): string | undefined;
}

class LazyChange implements LoggedChange {
  #frame: string | undefined;
  constructor(
    private readonly change: FleetChange,
    private readonly after: Position,
  ) {}
  get kind() {
    return this.change.kind;
  }
  get sequence() {
    return this.change.sequence;
  }
  get subjectId() {
    return subjectOf(this.change);
  }
  get frame(): string {
    return (this.#frame ??= frameOf(this.change, this.after));
  }
  frameFor(view: TenantView): string | undefined {
    const { change } = this;
    if (change.kind === 'host') return undefined;
    const { tenant } = change.kind === 'microvm' ? change.microvm : change.group;
    return tenant === view.tenant ? frameOf(seenChange(change, view), this.after) : undefined;
  }
}

function subjectOf(change: FleetChange): string {
  switch (change.kind) {
    case 'microvm':
      return change.microvm.id;
    case 'host':
      return change.host.id;
    case 'group':
      return change.group.id;
  }
}

export function frameOf(change: HistoricChange, after: Position): string {
  const { kind, ...data } = change;
  return `id: ${formatPosition(after)}\nevent: ${kind}\ndata: ${JSON.stringify(data)}\n\n`;
}

/** A change of a tenant's own microVM or group as that tenant sees it. */
export function seenChange(change: Exclude<HistoricChange, { kind: 'host' }>, view: TenantView): HistoricChange {
  if (change.kind === 'group') return { ...change, record: groupEntryForTenant(change.record) };
  const { kind, sequence, microvm, record } = change;
  return { kind, sequence, microvm: microvm && view.microvm(microvm), record: view.record(record, sequence) };
}

type Loosened<C> = C extends { kind: 'microvm'; microvm: infer M }
  ? Omit<C, 'microvm'> & { microvm: M | null }
  : C extends { kind: 'host'; host: infer H }
    ? Omit<C, 'host'> & { host: H | null }
    : C;
/** A change read back from history: the view of its subject is the current one, or null when it is no longer in memory. */
export type HistoricChange = Loosened<FleetChange>;

/**
 * The latest changes of the fleet, in memory, bounded. Listeners pull from it at their own pace: nothing is queued for any of
 * them, and one that falls so far behind that its place is gone has to read the histories instead.
 */
export class ChangeLog {
  readonly #ring: (LazyChange | undefined)[];
  /** Index of the next change; the latest `capacity` of those before are there. */
  #end = 0;
  #floor: Position;
  #head: Position;
  #waking = false;
  readonly #wakers = new Set<() => void>();
  readonly #off: () => void;

  constructor(
    fleet: FleetView,
    private readonly capacity = 4096,
  ) {
    this.#ring = new Array<LazyChange | undefined>(capacity).fill(undefined);
    this.#head = {
      microvm: fleet.positionOf('microvm'),
      host: fleet.positionOf('host'),
      group: fleet.positionOf('group'),
    };
    this.#floor = this.#head;
    this.#off = fleet.onChange((change) => this.#append(change));
  }

  /** Every change after this position is in the log. */
  get floor(): Position {
    return this.#floor;
  }

  /** Position of the latest change. */
  get head(): Position {
    return this.#head;
  }

  /** Index of the oldest change that is there. */
  get first(): number {
    return Math.max(0, this.#end - this.capacity);
  }

  /** Index of the next change to come. */
  get end(): number {
    return this.#end;
  }

  at(index: number): LoggedChange {
    const change = index >= this.first ? this.#ring[index % this.capacity] : undefined;
    if (!change) throw new RangeError(`change ${index} is not in the log (${this.first}..${this.#end})`);
    return change;
  }

  covers(position: Position): boolean {
    return ViewKind.options.every((kind) => position[kind] >= this.#floor[kind]);
  }

  /** Calls back, once per turn of the event loop at most, after changes came. Returns the way to stop. */
  onGrowth(wake: () => void): () => void {
    this.#wakers.add(wake);
    return () => this.#wakers.delete(wake);
  }

  close(): void {
    this.#off();
    this.#wakers.clear();
  }

  #append(change: FleetChange): void {
    const evicted = this.#ring[this.#end % this.capacity];
    if (evicted) this.#floor = { ...this.#floor, [evicted.kind]: evicted.sequence };
    this.#head = { ...this.#head, [change.kind]: change.sequence };
    this.#ring[this.#end % this.capacity] = new LazyChange(change, this.#head);
    this.#end++;
    if (this.#waking || this.#wakers.size === 0) return;
    this.#waking = true;
    setImmediate(() => {
      this.#waking = false;
      for (const wake of this.#wakers) wake();
    });
  }
}
