import type { DeviceWork } from '#protocol';

/** What the VMM's statistics page tells of its devices. */
export interface DeviceReading {
  disk: DeviceWork;
  network: DeviceWork;
  /** What the guest says its balloon holds, KiB: a hint. What it really gave back is missing from what is resident. */
  balloonedKiB: number;
}

export const noWork = (): DeviceWork => ({ reads: 0, writes: 0, readBytes: 0, writeBytes: 0, throttled: 0 });

export function addWork(sum: DeviceWork, work: DeviceWork): void {
  for (const field of Object.keys(sum) as (keyof DeviceWork)[]) sum[field] += work[field];
}
