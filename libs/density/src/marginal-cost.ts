import type { MarginalCost } from '#protocol';
import type { ChargedMemory } from './control-group';
import { countedKernelKiB, kernelKiB, type HostMemory } from './meminfo';
import type { ReadingSums } from './microvm-reading';
import { SlopeEstimator } from './slope-estimator';

/** A slope is believed when its standard error is below this part of it. */
const MOST_ERROR = 0.15;

/** Learns from every reading of the host what one microVM costs. */
export class MarginalCostEstimator {
  readonly #cost = new SlopeEstimator();
  readonly #uncounted = new SlopeEstimator();

  add(memory: HostMemory, microvms: number, sums: ReadingSums, atMs: number): void {
    if (sums.measured < microvms) return; // newcomers' own pages are not known yet
    const wholeKernelKiB = kernelKiB(memory);
    const ownKiB = sums.vmmKiB + sums.pageFileKiB;
    this.#cost.add(microvms, wholeKernelKiB - memory.slabReclaimableKiB + ownKiB, atMs);
    this.#uncounted.add(microvms, wholeKernelKiB - countedKernelKiB(memory), atMs);
  }

  /** Kernel pages of one microVM that no counter of the host contains, KiB; undefined while that is not known well enough. */
  get uncountedEachKiB(): number | undefined {
    const slope = this.#uncounted.read();
    return slope && slope.value > 0 && slope.error < MOST_ERROR * slope.value ? slope.value : undefined;
  }

  /** Null while neither the slope is known well enough nor anything is charged. */
  estimate(microvms: number, sums: ReadingSums, charged: ChargedMemory | undefined): MarginalCost | null {
    const slope = this.#cost.read();
    if (slope && slope.value > 0 && slope.error < MOST_ERROR * slope.value)
      return { kib: slope.value, errorKiB: slope.error, method: 'slope' };
    if (!charged || microvms === 0 || sums.measured === 0) return null;
    const ownKiB = (sums.vmmKiB + sums.pageFileKiB) / sums.measured;
    return { kib: charged.kernelKiB / microvms + ownKiB, errorKiB: null, method: 'charged' };
  }
}
