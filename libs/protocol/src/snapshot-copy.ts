import { z } from 'zod';

/** How the memory of a snapshot was copied. */
export const SnapshotCopy = z.strictObject({
  /** How the writes of a running guest were known; `none`: it stood still all the time. */
  tracking: z.enum(['none', 'plain', 'manual']),
  /** False: the guest wrote as fast as could be copied, and was stopped all the same. */
  converged: z.boolean(),
  /** Bytes written in each round over memory; the last are those of the pause. */
  roundBytes: z.array(z.int().nonnegative()).max(64),
  /** Why it stood still for all of it, though its memory was to be copied while it ran. */
  reason: z.string().max(1_000).optional(),
});
export type SnapshotCopy = z.infer<typeof SnapshotCopy>;
