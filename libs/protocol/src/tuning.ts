import { z } from 'zod';
import { Metadata } from './microvm-spec';
import { RateLimit } from './rate-limit';

const LimitChange = z.strictObject({
  kind: z.literal('limit'),
  /** `root`: the writable layer of a Linux image. `disk0`, `disk1`, ...: data disks, in the order of the spec. */
  device: z.union([z.enum(['root', 'network', 'console']), z.string().regex(/^disk[0-7]$/, 'must be disk0 to disk7')]),
  /** For `network`, seen from the guest. Default: both. */
  direction: z.enum(['receive', 'send']).optional(),
  /** The whole limit: what it does not name is not limited any more. */
  limit: RateLimit,
});
/** How much memory the balloon shall take from the guest; the guest may take its time, or not obey. */
const BalloonChange = z.strictObject({ kind: z.literal('balloon'), mib: z.int().min(0).max(1_048_576) });
const CtrlAltDel = z.strictObject({ kind: z.literal('ctrlAltDel') });

/** A change of a microVM while it runs. It lasts as long as this incarnation; the next start goes by the spec again. */
export const Tuning = z.discriminatedUnion('kind', [
  LimitChange,
  BalloonChange,
  CtrlAltDel,
  /** All its metadata, in place of what it had. */
  z.strictObject({ kind: z.literal('metadata'), values: Metadata }),
]);
export type Tuning = z.infer<typeof Tuning>;

/** A change as histories keep it, for ever: of metadata only the keys, since values may be secrets. */
export const TuningRecord = z.discriminatedUnion('kind', [
  LimitChange,
  BalloonChange,
  CtrlAltDel,
  z.strictObject({ kind: z.literal('metadata'), keys: z.array(z.string()) }),
]);
export type TuningRecord = z.infer<typeof TuningRecord>;

export function recordOfTuning(tuning: Tuning): TuningRecord {
  return tuning.kind === 'metadata' ? { kind: 'metadata', keys: Object.keys(tuning.values).sort() } : tuning;
}
