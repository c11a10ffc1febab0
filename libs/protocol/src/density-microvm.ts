import { z } from 'zod';
import { DeviceWork } from './density-parts';
import { Instant } from './microvm-events';

/** One microVM as its host measures it from outside. What the guest itself says is under `hints` alone. */
export const MicrovmDensity = z.strictObject({
  id: z.string(),
  epoch: z.int(),
  /** When it was measured. */
  at: Instant,
  promised: z.strictObject({ vcpus: z.number(), memoryMiB: z.number() }),
  memory: z.strictObject({
    residentKiB: z.number(),
    /** Shared pages counted by their share. */
    proportionalKiB: z.number(),
    privateKiB: z.number(),
    /** Guest memory of its own: touched afresh, or copied on write. */
    guestKiB: z.number(),
    /** Guest memory that others map as well, and whose pages they are: the template it was cloned from, null when it was not. */
    sharedKiB: z.number(),
    sharedWith: z.string().nullable(),
    swapKiB: z.number(),
  }),
  /** What it takes beside guest memory. */
  overhead: z.strictObject({
    vmmKiB: z.number(),
    pageTablesKiB: z.number(),
    kernelStacksKiB: z.number(),
    /** All that the kernel charges to its cgroup, both of these and KVM's own included; null where nothing counts it. */
    kernelKiB: z.number().nullable(),
  }),
  cpu: z.strictObject({
    cores: z.number(),
    guestCores: z.number(),
    totalSeconds: z.number(),
    vcpuWaitPercent: z.number(),
    /** How often and how long its CPU limit held it back; null where it has none. */
    throttled: z.strictObject({ periods: z.number(), ms: z.number() }).nullable(),
  }),
  /** Null: it has no such device. */
  disk: DeviceWork.nullable(),
  network: DeviceWork.nullable(),
  hints: z.strictObject({ balloonedKiB: z.number().nullable() }),
});
export type MicrovmDensity = z.infer<typeof MicrovmDensity>;
