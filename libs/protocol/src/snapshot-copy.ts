import { z } from 'zod';

/** How the memory of a snapshot was copied. */
export const SnapshotCopy = z.strictObject({
  /** How the writes of a running guest were known; `none`: it stood still all the time. */
  tracking: z.enum(['none', 'plain', 'manual']),
  /** False: the guest wrote as fast as could be copied, and was stopped all the same. */
  converged: z.boolean(),
  /** Bytes written in each round over memory; the last are those of the pause. */
  roundBytes: z.array(z.int().nonnegative()).max(64),
});
export type SnapshotCopy = z.infer<typeof SnapshotCopy>;
