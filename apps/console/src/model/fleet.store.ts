import type { FleetDensity, Host, Microvm } from '#protocol';

/** How many deleted microVMs this page remembers of those it saw ending or was asked to load. */
const REMEMBERED_DELETED = 2_000;

/**
 * The fleet as this page knows it. Views carry a revision that only grows, so they can arrive from the stream, from lists
 * and from answers to commands in any order: the newest wins, older ones change nothing.
 */
export class FleetStore {
  readonly #microvms = new Map<string, Microvm>();
  readonly #deleted = new Map<string, Microvm>();
  readonly #hosts = new Map<string, Host>();
  readonly #listeners = new Set<() => void>();
  /** Ids seen since a reading began; null while none is under way. */
  #seen: Set<string> | null = null;

  density: FleetDensity | null = null;
  /** Grows with every change; what is derived from the fleet is valid for one version. */
  version = 0;
  /** False until everything was read once. */
  complete = false;

  /** Living microVMs, in the order they became known. */
  get microvms(): ReadonlyMap<string, Microvm> {
    return this.#microvms;
  }

  get deleted(): ReadonlyMap<string, Microvm> {
    return this.#deleted;
  }

  get hosts(): ReadonlyMap<string, Host> {
    return this.#hosts;
  }

  find(id: string): Microvm | undefined {
    return this.#microvms.get(id) ?? this.#deleted.get(id);
  }

  /** Takes a view from wherever it came. Returns false when it is not newer than what is known. */
  putMicrovm(microvm: Microvm): boolean {
    this.#seen?.add(microvm.id);
    const known = this.find(microvm.id);
    if (known && known.revision >= microvm.revision) return false;
    if (microvm.state === 'deleted') {
      this.#microvms.delete(microvm.id);
      this.#deleted.set(microvm.id, microvm);
      if (this.#deleted.size > REMEMBERED_DELETED) this.#deleted.delete(this.#deleted.keys().next().value!);
    } else {
      this.#microvms.set(microvm.id, microvm);
    }
    this.#changed();
    return true;
  }

  /** It was deleted so long ago that not even the gateway has a view of it at hand. */
  dropMicrovm(id: string): void {
    if (this.#microvms.delete(id)) this.#changed();
  }

  putHost(host: Host): boolean {
    const known = this.#hosts.get(host.id);
    if (known && known.revision >= host.revision) return false;
    this.#hosts.set(host.id, host);
    this.#changed();
    return true;
  }

  putDensity(density: FleetDensity): void {
    if (this.density && this.density.at > density.at) return;
    this.density = density;
    this.#changed();
  }

  /** Everything is about to be read: from here on it is noted who is still mentioned. */
  beginReading(): void {
    this.#seen = new Set();
  }

  /** Everything was read: who was mentioned neither by the lists nor by the stream since is gone. */
  endReading(): void {
    const seen = this.#seen;
    if (!seen) return;
    for (const id of this.#microvms.keys()) if (!seen.has(id)) this.#microvms.delete(id);
    this.#seen = null;
    this.complete = true;
    this.#changed();
  }

  abandonReading(): void {
    this.#seen = null;
  }

  /** Calls back after every change; returns the way to stop. */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #changed(): void {
    this.version++;
    for (const listener of this.#listeners) listener();
  }
}
