import { z } from 'zod';
import { HostId } from './ids';
import { Instant } from './microvm-events';

/** The stored explanation of one placement decision: every host with the verdict of every filter and its scores. */
export const Receipt = z.strictObject({
  id: z.string(),
  microvmId: z.string(),
  epoch: z.int().positive(),
  at: Instant,
  /** What was asked for. */
  demand: z.strictObject({
    image: z.string(),
    vcpus: z.int(),
    memoryMiB: z.int(),
    tenant: z.string(),
    excluded: z.array(HostId),
  }),
  /** The chosen host, or null with the reason. */
  hostId: HostId.nullable(),
  reason: z.string(),
  hosts: z.array(
    z.strictObject({
      hostId: HostId,
      /** `filtered`: a filter refused it; `eligible`: passed but was not sampled; `scored`: sampled, lost; `chosen`. */
      verdict: z.enum(['filtered', 'eligible', 'scored', 'chosen']),
      filters: z.array(z.strictObject({ name: z.string(), passed: z.boolean(), detail: z.string() })),
      scores: z.array(z.strictObject({ name: z.string(), value: z.number(), weight: z.number() })),
      total: z.number().nullable(),
    }),
  ),
});
export type Receipt = z.infer<typeof Receipt>;
