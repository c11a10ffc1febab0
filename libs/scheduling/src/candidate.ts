/** A host as the scheduler sees it: what its history says and what it last reported, less what was placed since. */
export interface Candidate {
  hostId: string;
  /** True when its history says that it takes new microVMs. */
  ready: boolean;
  state: string;
  kvmAvailable: boolean;
  /** Built-in images that it has. */
  images: readonly string[];
  /** Whether it boots stock Linux, and so any imported image. */
  linux: boolean;
  /** Whether microVMs can have a network device there. */
  network: boolean;
  /** ms since its last density report; null: none heard yet. */
  reportAgeMs: number | null;
  /** What admission would still grant, placements in flight already taken off. */
  free: { slots: number; vcpus: number; memoryMiB: number };
  capacity: { slots: number; vcpus: number; memoryMiB: number };
  /** Worst of the pressure figures, percent. */
  pressurePercent: number;
}

/** What a microVM asks of a host. */
export interface Demand {
  image: string;
  /** Whether the image is an imported one: any host that boots Linux can fetch it. */
  imported: boolean;
  network: boolean;
  vcpus: number;
  memoryMiB: number;
  tenant: string;
  excluded: readonly string[];
}
