/** What a host has and how far it may promise it. The overcommit ratio is applied by {@link promisable} and nowhere else. */
export interface Capacity {
  slots: number;
  /** Logical CPUs. */
  cpus: number;
  /** MemTotal, MiB. */
  memoryMiB: number;
  /** Kept back for the host itself, MiB. */
  reserveMiB: number;
  overcommit: { cpu: number; memory: number };
}

/** What one microVM, or a sum of them, was promised. */
export interface Demand {
  vcpus: number;
  memoryMiB: number;
}

/** Commitment: what is promised to all of these, in sum. */
export function commitmentOf(demands: Iterable<Demand>): Demand {
  const sum: Demand = { vcpus: 0, memoryMiB: 0 };
  for (const demand of demands) {
    sum.vcpus += demand.vcpus;
    sum.memoryMiB += demand.memoryMiB;
  }
  return sum;
}

/** The most that may be promised: (capacity - reserve) x overcommit limit. */
export function promisable(capacity: Capacity): Demand {
  return {
    vcpus: capacity.cpus * capacity.overcommit.cpu,
    memoryMiB: Math.max(0, capacity.memoryMiB - capacity.reserveMiB) * capacity.overcommit.memory,
  };
}

/** Overcommit ratio: commitment / (capacity - reserve). 0 where nothing is promised, Infinity where all is reserved. */
export function overcommitRatio(commitment: number, capacity: number, reserve = 0): number {
  if (commitment === 0) return 0;
  return capacity > reserve ? commitment / (capacity - reserve) : Infinity;
}

export interface Headroom extends Demand {
  slots: number;
  /** How many more microVMs of the mean size of those admitted; of {@link USUAL_DEMAND} on an empty host. */
  microvms: number;
}

/** The size assumed for the next microVM while there is none to take a mean of. */
export const USUAL_DEMAND: Demand = { vcpus: 1, memoryMiB: 128 };

/** What admission would still grant on top of `commitment`, which `admitted` microVMs hold. */
export function headroomOf(capacity: Capacity, commitment: Demand, admitted: number): Headroom {
  const most = promisable(capacity);
  const vcpus = Math.max(0, most.vcpus - commitment.vcpus);
  const memoryMiB = Math.max(0, most.memoryMiB - commitment.memoryMiB);
  const slots = Math.max(0, capacity.slots - admitted);
  const mean =
    admitted > 0 ? { vcpus: commitment.vcpus / admitted, memoryMiB: commitment.memoryMiB / admitted } : USUAL_DEMAND;
  const fits = Math.min(slots, Math.floor(vcpus / mean.vcpus), Math.floor(memoryMiB / mean.memoryMiB));
  return { vcpus, memoryMiB, slots, microvms: Math.max(0, fits) };
}

/** Nearest-rank percentile: the smallest value with at least `percent` % of all values at or below it. 0 of no values. */
export function percentile(values: readonly number[], percent: number): number {
  if (values.length === 0) return 0;
  const sorted = Float64Array.from(values).sort();
  const rank = Math.ceil((percent / 100) * sorted.length);
  return sorted[Math.min(sorted.length, Math.max(1, rank)) - 1]!;
}

/** vCPU wait: share of the time a vCPU thread wanted a CPU in which it had none; what the guest sees as steal. Percent. */
export function waitPercent(runNs: number, delayNs: number): number {
  const wanted = runNs + delayNs;
  return wanted > 0 ? (100 * delayNs) / wanted : 0;
}

/** CPU use as cores: `cpuMs` of CPU time within `elapsedMs`. */
export function coresUsed(cpuMs: number, elapsedMs: number): number {
  return elapsedMs > 0 ? Math.max(0, cpuMs) / elapsedMs : 0;
}

/** One reading while a host is filled: how many microVMs ran, what the host used, what their guests had touched. */
export interface FillPoint {
  microvms: number;
  /** MemTotal - MemAvailable, KiB. */
  hostUsedKiB: number;
  /** Private pages of guest memory in all VMMs, KiB. */
  guestKiB: number;
}

/**
 * Marginal cost: host memory one more microVM takes beyond its own guest pages, the kernel's share included; the slope of
 * (host used - guest pages) over the number of microVMs by least squares, KiB. Undefined below two distinct counts.
 */
export function marginalCostKiB(points: readonly FillPoint[]): number | undefined {
  const n = points.length;
  const meanX = points.reduce((sum, point) => sum + point.microvms, 0) / n;
  const meanY = points.reduce((sum, point) => sum + point.hostUsedKiB - point.guestKiB, 0) / n;
  let covariance = 0;
  let variance = 0;
  for (const point of points) {
    const dx = point.microvms - meanX;
    covariance += dx * (point.hostUsedKiB - point.guestKiB - meanY);
    variance += dx * dx;
  }
  return variance > 0 ? covariance / variance : undefined;
}
