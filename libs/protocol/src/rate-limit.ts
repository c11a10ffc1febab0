import { z } from 'zod';

const PerSecond = z
  .int()
  .min(1)
  .max(2 ** 40);

/**
 * A limit on one direction of one device: token buckets that start full and refill evenly. `burst…` tokens more are there once,
 * right after the start or the change. What is absent is not limited.
 */
export const RateLimit = z.strictObject({
  bytesPerSecond: PerSecond.optional(),
  burstBytes: z
    .int()
    .min(0)
    .max(2 ** 40)
    .optional(),
  operationsPerSecond: PerSecond.optional(),
  burstOperations: z
    .int()
    .min(0)
    .max(2 ** 40)
    .optional(),
});
export type RateLimit = z.infer<typeof RateLimit>;
