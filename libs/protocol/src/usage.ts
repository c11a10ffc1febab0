import { z } from 'zod';
import { HostId } from './ids';
import { Instant } from './microvm-events';

/** What microVMs really used, for what-ifs; the oldest is thrown away when it is full or old. */
export const USAGE_STREAM = {
  name: 'USAGE',
  subjects: ['volley.usage.*'],
  maxBytes: 2 * 1024 ** 3,
  maxAgeMs: 30 * 24 * 3_600_000,
} as const;
/** Of one host. */
export const usageOf = (hostId: string): string => `volley.usage.${hostId}`;

/** Id, epoch, mean and highest CPU in thousandths of a core, vCPU wait in thousandths, most memory in MiB. */
export const MicrovmUsage = z.tuple([
  z.string(),
  z.int(),
  z.int().nonnegative(),
  z.int().nonnegative(),
  z.int().nonnegative(),
  z.int().nonnegative(),
]);
export type MicrovmUsage = z.infer<typeof MicrovmUsage>;

/** One interval of one host: of each microVM measured in it, what differs from what was last recorded of it. */
export const UsageRecord = z.strictObject({
  version: z.literal(1),
  hostId: HostId,
  from: Instant,
  to: Instant,
  /** Holds every microVM measured in it, changed or not, so that nothing before it is needed. */
  whole: z.boolean(),
  microvms: z.array(MicrovmUsage),
  /** How far its CPUs and its memory may be promised at the end of the interval; absent: as last recorded, or by its history. */
  limits: z.tuple([z.number().nonnegative(), z.number().nonnegative()]).optional(),
});
export type UsageRecord = z.infer<typeof UsageRecord>;
