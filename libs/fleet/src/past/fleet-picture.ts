import { summariseGroup, viewHost, viewMicrovm, type GroupLife, type HostLife } from '#lifecycle';
import type { GroupSummary, Host, Microvm } from '#protocol';
import { FleetIndex, type MicrovmFilter } from '../fleet-index';
import { inOrderAfter, livingGroups } from '../replay/live-view';
import type { LivesPicture } from './lives-at';
import type { MicrovmsPicture } from './microvms-at';

/** The fleet as it was at an instant. */
export class FleetPicture {
  #index: FleetIndex | undefined;

  constructor(
    /** ms since 1970. */
    readonly at: number,
    readonly microvms: MicrovmsPicture,
    readonly hostsPicture: LivesPicture<HostLife>,
    readonly groupsPicture: LivesPicture<GroupLife>,
  ) {}

  /** True when the histories know of nothing by then. */
  get isBlank(): boolean {
    return this.microvms.counted + this.hostsPicture.counted + this.groupsPicture.counted === 0;
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
    return inOrderAfter(this.hostsPicture.lives.values()).map(viewHost);
  }

  /** Those that are not deleted. */
  groups(): GroupSummary[] {
    return inOrderAfter(livingGroups(this.groupsPicture.lives.values())).map(summariseGroup);
  }

  #indexed(): FleetIndex {
    if (this.#index) return this.#index;
    const index = new FleetIndex();
    for (const life of [...this.microvms.lives.values()].sort((a, b) => (a.id < b.id ? -1 : 1))) index.set(life);
    for (const life of this.microvms.ended) index.set(life);
    return (this.#index = index);
  }
}
