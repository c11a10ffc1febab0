import { nextOccurrence, parseCron } from '#protocol';
import type { MicrovmContext } from './microvm.context';
import { MICROVM_LIMITS } from './microvm.limits';

/** What a microVM's policies mean at an instant. All times in ms, instants since 1970. */

/** When its host ends it by itself; undefined: never, also while it is protected. */
export function expiryOf({ expiresAt, protected: isProtected }: MicrovmContext): number | undefined {
  return isProtected ? undefined : expiresAt;
}

/** Whether the run that ends at `at` was long enough for its end to be no part of a series of failures. */
export function isGoodRun({ timings: { runningAt } }: MicrovmContext, at: number): boolean {
  return runningAt !== undefined && at - runningAt >= MICROVM_LIMITS.goodRun;
}

/** From entering a state of rest at `at`; Infinity without a schedule. */
export function msUntilScheduledStart({ spec }: MicrovmContext, at: number): number {
  const start = spec.schedule?.start;
  return start === undefined ? Infinity : (nextOccurrence(parseCron(start), at) ?? Infinity) - at;
}

/**
 * From entering a state at `at` in which it runs or shall run; Infinity without a schedule. Counted from when it was asked to
 * start, so that a stop that was due while nobody could look at it is not forgotten because something else happened first.
 */
export function msUntilScheduledStop({ spec, upSince, timings }: MicrovmContext, at: number): number {
  const stop = spec.schedule?.stop;
  if (stop === undefined) return Infinity;
  const due = nextOccurrence(parseCron(stop), upSince ?? timings.acceptedAt) ?? Infinity;
  return Math.max(0, due - at);
}
