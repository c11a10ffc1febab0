import type { Fits } from '#protocol';
import { headroomOf, USUAL_SIZE, type Capacity, type Commitment } from '#scheduling';

export interface FitsInputs {
  capacity: Capacity;
  commitment: Commitment;
  admitted: number;
  /** MemAvailable, KiB. */
  availableKiB: number;
  /** What one microVM takes beyond its own guest pages, and guest pages of the mean microVM, KiB; undefined: not known. */
  marginalKiB: number | undefined;
  meanGuestKiB: number;
}

/** How many more microVMs of the mean size fit, by each of what they need; docs/density.md. */
export function fitsOf(inputs: FitsInputs): Fits {
  const { capacity, commitment, admitted, availableKiB, marginalKiB, meanGuestKiB } = inputs;
  const headroom = headroomOf(capacity, commitment, admitted);
  const mean = {
    vcpus: admitted > 0 ? commitment.vcpus / admitted : USUAL_SIZE.vcpus,
    memoryMiB: admitted > 0 ? commitment.memoryMiB / admitted : USUAL_SIZE.memoryMiB,
  };
  const spareKiB = Math.max(0, availableKiB - capacity.reserveMiB * 1024);
  const by = {
    slots: headroom.slots,
    vcpus: Math.floor(headroom.vcpus / mean.vcpus),
    promisedMemory: Math.floor(headroom.memoryMiB / mean.memoryMiB),
    availableMemory: marginalKiB === undefined ? null : Math.floor(spareKiB / (marginalKiB + meanGuestKiB)),
  };
  const [binding, microvms] = (Object.entries(by) as [Fits['binding'], number | null][])
    .flatMap(([name, count]) => (count === null ? [] : [[name, count] as const]))
    .reduce((least, one) => (one[1] < least[1] ? one : least));
  return { ...by, microvms, binding };
}
