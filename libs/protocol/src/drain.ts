import { z } from 'zod';
import { DrainOrder } from './host';
import { HostId, MicrovmId } from './ids';
import { Instant, MicrovmStateName } from './microvm-events';

/** What a drain would do with one microVM of the host. */
export const DrainStep = z.strictObject({
  microvmId: MicrovmId,
  name: z.string().nullable(),
  tenant: z.string(),
  state: MicrovmStateName,
  /**
   * `moves`: is ended here and starts on `to`. `waitsForRoom`: runs on here until another host can take it. `waitsForItsEnd`: stays with its
   * host and runs on here until it ends by itself or somebody stops it. `stops`: stays with its host and is stopped.
   * `settles`: is on its way from one state to another; what becomes of it is decided then.
   */
  fate: z.enum(['moves', 'waitsForRoom', 'waitsForItsEnd', 'stops', 'settles']),
  /** Where there is room for it at the moment. */
  to: HostId.nullable(),
  /** Why, for people. */
  reason: z.string(),
  /** What is gone afterwards: memory is with every end of a guest, disks are with a move, for they stay on their host. */
  loses: z.array(z.enum(['memory', 'disks'])),
});
export type DrainStep = z.infer<typeof DrainStep>;

/** How many microVMs a plan looks at; the others are counted in `omitted`. */
export const DRAIN_PLAN_MOST = 1_000;

/** What a drain would do now. Nothing is kept for it: another moment may give another plan. */
export const DrainPlan = z.strictObject({
  hostId: HostId,
  at: Instant,
  ...DrainOrder.shape,
  /** Number of microVMs with each fate. */
  counts: z.record(DrainStep.shape.fate, z.int().nonnegative()),
  /** In the order in which they have their turn. */
  steps: z.array(DrainStep).max(DRAIN_PLAN_MOST),
  omitted: z.int().nonnegative(),
  /**
   * How long moves and stops take together, ms: from guests that power off at once to guests that have to be killed, with starts as long as
   * recent ones of the fleet. Waiting is not in it.
   */
  estimate: z.strictObject({ leastMs: z.int().nonnegative(), mostMs: z.int().nonnegative() }),
});
export type DrainPlan = z.infer<typeof DrainPlan>;
