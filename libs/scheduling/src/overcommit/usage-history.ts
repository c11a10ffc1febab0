import type { UsageWindow } from './predicted-peak';
import type { WaitWindow } from './compliance-goal';

/** What one microVM took in one window. */
export interface MicrovmUsage {
  microvmId: string;
  vcpus: number;
  memoryMiB: number;
  /** CPU time that its vCPUs wanted, as cores, and how much of it they waited, percent. */
  wantedCores: number;
  waitPercent: number;
  usedMiB: number;
}

interface Seen {
  vcpus: number;
  memoryMiB: number;
  cores: number[];
  mib: number[];
}

/** What the microVMs of a host took in the last windows: what ratios are derived from. Bounded; what is not there any more is forgotten. */
export class UsageHistory {
  readonly cpu: UsageWindow[] = [];
  readonly memory: UsageWindow[] = [];
  readonly waits: WaitWindow[] = [];
  readonly #seen = new Map<string, Seen>();

  /** `windows`: how many are kept. `waitPercent`: less than this is compliant. */
  constructor(
    readonly windows: number,
    private readonly waitPercent = 5,
  ) {}

  /** The end of a window, with all that were there. */
  add(usages: readonly MicrovmUsage[]): void {
    const sum = (pick: (one: MicrovmUsage) => number): number => usages.reduce((all, one) => all + pick(one), 0);
    const vcpus = sum((one) => one.vcpus);
    const wanted = sum((one) => one.wantedCores);
    const compliant = sum((one) => (one.waitPercent < this.waitPercent ? one.wantedCores : 0));
    this.#push(this.cpu, { committed: vcpus, used: wanted });
    this.#push(this.memory, { committed: sum((one) => one.memoryMiB), used: sum((one) => one.usedMiB) });
    this.#push(this.waits, { vcpus, wanted, compliant });
    const here = new Set(usages.map(({ microvmId }) => microvmId));
    for (const id of this.#seen.keys()) if (!here.has(id)) this.#seen.delete(id);
    for (const { microvmId, vcpus: of, memoryMiB, wantedCores, usedMiB } of usages) {
      const seen = this.#seen.get(microvmId) ?? { vcpus: of, memoryMiB, cores: [], mib: [] };
      this.#seen.set(microvmId, seen);
      this.#push(seen.cores, wantedCores);
      this.#push(seen.mib, usedMiB);
    }
  }

  /** Of each microVM what it was promised and used, of vCPUs or of memory. */
  *each(resource: 'cpu' | 'memory'): Iterable<{ promised: number; used: readonly number[] }> {
    for (const { vcpus, memoryMiB, cores, mib } of this.#seen.values()) {
      yield resource === 'cpu' ? { promised: vcpus, used: cores } : { promised: memoryMiB, used: mib };
    }
  }

  #push<T>(list: T[], item: T): void {
    list.push(item);
    if (list.length > this.windows) list.shift();
  }
}
