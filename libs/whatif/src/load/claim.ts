import type { Demand } from '#scheduling';

/**
 * One wish of a microVM for a place on a host: its creation, a start, a restart, or to go on after it was suspended. A microVM that is restarted three times makes
 * four of them.
 */
export interface Claim {
  readonly microvmId: string;
  /** From 1, in the life of this microVM. */
  readonly round: number;
  readonly demand: Demand;
  /** ms since 1970. */
  readonly askedAt: number;
  /** Until when it waits for a host, ms since 1970; `askedAt`: it does not. */
  readonly waitUntil: number;
  /**
   * It came by itself when the one before had ended: by a restart policy, the loss of a host or a move. It never comes where that
   * one was refused.
   */
  readonly follows: boolean;
  /** It was suspended and goes on: where its memory is, or not at all. */
  readonly resumes: boolean;
  /** When it is over in any case, ms since 1970: its time to live. */
  readonly expiresAt: number | null;
  readonly ending: Ending;
  readonly was: Outcome;
}

/** How long a claim keeps its place once it has one. */
export type Ending =
  /** So long: it did its work, failed, or was taken away by somebody who waited for it to run. */
  | { readonly kind: 'after'; readonly ms: number }
  /** At an instant that does not depend on when it began: by its time to live or its schedule. ms since 1970. */
  | { readonly kind: 'at'; readonly at: number }
  /** It still has its place where the record ends. */
  | { readonly kind: 'open' }
  /** It never had a place, so nobody knows. */
  | { readonly kind: 'unknown' };

/** What became of a claim, as it was recorded. */
export type Outcome =
  | { readonly kind: 'placed'; readonly hostId: string; readonly epoch: number; readonly at: number }
  | { readonly kind: 'refused'; readonly reason: string; readonly at: number }
  /** Stopped, deleted or expired while it waited. */
  | { readonly kind: 'withdrawn'; readonly at: number }
  /** It waits where the record ends. */
  | { readonly kind: 'waiting' };
