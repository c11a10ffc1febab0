import { viewHost, viewMicrovm } from '#lifecycle';
import type { Host, Microvm } from '#protocol';
import { FleetIndex, type MicrovmFilter } from '../fleet-index';
import type { HostsPicture } from './hosts-at';
import type { MicrovmsPicture } from './microvms-at';

/** The fleet as it was at an instant. */
export class FleetPicture {
  #index: FleetIndex | undefined;

  constructor(
    /** ms since 1970. */
    readonly at: number,
    readonly microvms: MicrovmsPicture,
    readonly hostsPicture: HostsPicture,
  ) {}

  /** True when the histories know of nothing by then. */
  get isBlank(): boolean {
    return this.microvms.counted + this.hostsPicture.counted === 0;
  }

  /** Living microVMs. */
  get size(): number {
    return this.microvms.lives.size;
  }

  microvm(id: string): Microvm | undefined {
    const life = this.microvms.lives.get(id);
    return life && viewMicrovm(life);
  }

  list(filter: MicrovmFilter): { items: Microvm[]; nextCursor: string | null } {
    return this.#indexed().list(filter);
  }

  countByState(): Record<string, number> {
    return this.#indexed().countByState();
  }

  hosts(): Host[] {
    return [...this.hostsPicture.lives.values()].map(viewHost).sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  #indexed(): FleetIndex {
    if (this.#index) return this.#index;
    const index = new FleetIndex();
    for (const life of [...this.microvms.lives.values()].sort((a, b) => (a.id < b.id ? -1 : 1))) index.set(life);
    for (const life of this.microvms.ended) index.set(life);
    return (this.#index = index);
  }
}
