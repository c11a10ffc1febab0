/** What a host has and how far it may promise it. The overcommit ratio is applied by {@link promisable} and nowhere else. */
export interface Capacity {
  slots: number;
  /** Logical CPUs. */
  cpus: number;
  /** MemTotal, MiB. */
  memoryMiB: number;
  /** Kept back for the host itself, MiB. */
  reserveMiB: number;
  overcommit: Overcommit;
}

export interface Ratios {
  cpu: number;
  memory: number;
}

/** How far what there is may be promised. */
export interface Overcommit extends Ratios {
  /** What microVMs of the class `guaranteed` alone may be promised. Absent: as much as all together. */
  guaranteed?: Ratios | undefined;
}

/** What one microVM, or a sum of them, was promised. */
export interface Commitment {
  vcpus: number;
  memoryMiB: number;
}

/** Commitment: what is promised to all of these, in sum. */
export function commitmentOf(commitments: Iterable<Commitment>): Commitment {
  const sum: Commitment = { vcpus: 0, memoryMiB: 0 };
  for (const one of commitments) {
    sum.vcpus += one.vcpus;
    sum.memoryMiB += one.memoryMiB;
  }
  return sum;
}

/** The most that may be promised: (capacity - reserve) x overcommit limit. */
export function promisable(capacity: Capacity, { cpu, memory }: Ratios = capacity.overcommit): Commitment {
  return {
    vcpus: capacity.cpus * cpu,
    memoryMiB: Math.max(0, capacity.memoryMiB - capacity.reserveMiB) * memory,
  };
}

/** The most that may be promised to those of the class `guaranteed`. */
export function promisableGuaranteed(capacity: Capacity): Commitment {
  const all = promisable(capacity);
  const { guaranteed } = capacity.overcommit;
  if (!guaranteed) return all;
  const own = promisable(capacity, guaranteed);
  return { vcpus: Math.min(all.vcpus, own.vcpus), memoryMiB: Math.min(all.memoryMiB, own.memoryMiB) };
}

/** What of it is left for the class `guaranteed`, to which `commitment` is promised. */
export function guaranteedHeadroom(capacity: Capacity, commitment: Commitment): Commitment {
  const most = promisableGuaranteed(capacity);
  return {
    vcpus: Math.max(0, most.vcpus - commitment.vcpus),
    memoryMiB: Math.max(0, most.memoryMiB - commitment.memoryMiB),
  };
}

/** Overcommit ratio: commitment / (capacity - reserve). 0 where nothing is promised, Infinity where all is reserved. */
export function overcommitRatio(commitment: number, capacity: number, reserve = 0): number {
  if (commitment === 0) return 0;
  return capacity > reserve ? commitment / (capacity - reserve) : Infinity;
}

export interface Headroom extends Commitment {
  slots: number;
  /** How many more microVMs of the mean size of those admitted; of {@link USUAL_SIZE} on an empty host. */
  microvms: number;
}

/** The size assumed for the next microVM while there is none to take a mean of. */
export const USUAL_SIZE: Commitment = { vcpus: 1, memoryMiB: 128 };

/** What admission would still grant on top of `commitment`, which `admitted` microVMs hold. */
export function headroomOf(capacity: Capacity, commitment: Commitment, admitted: number): Headroom {
  const most = promisable(capacity);
  const vcpus = Math.max(0, most.vcpus - commitment.vcpus);
  const memoryMiB = Math.max(0, most.memoryMiB - commitment.memoryMiB);
  const slots = Math.max(0, capacity.slots - admitted);
  const mean =
    admitted > 0 ? { vcpus: commitment.vcpus / admitted, memoryMiB: commitment.memoryMiB / admitted } : USUAL_SIZE;
  const fits = Math.min(slots, Math.floor(vcpus / mean.vcpus), Math.floor(memoryMiB / mean.memoryMiB));
  return { vcpus, memoryMiB, slots, microvms: Math.max(0, fits) };
}
