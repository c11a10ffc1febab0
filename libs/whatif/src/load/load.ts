import type { UsageRecord } from '#protocol';
import type { Claim } from './claim';
import type { HostPlan } from './host-plan';

/** What was asked of a fleet in a span of time, and on what. */
export interface Load {
  /** ms since 1970; of what happens at `to` nothing counts any more. */
  readonly from: number;
  readonly to: number;
  /** In order of `askedAt`. Those asked for before `from` still had their place or waited then. */
  readonly claims: readonly Claim[];
  readonly hosts: readonly HostPlan[];
  /** What was measured in that time, in order; of hosts over each other's. */
  readonly usage?: readonly UsageRecord[];
}

/** Of all claims those that matter to a span: asked for in it, or before and not over by then. */
export function claimsIn(claims: readonly Claim[], from: number, to: number): Claim[] {
  return claims
    .filter((claim) => claim.askedAt < to && (claim.askedAt >= from || lastsUntil(claim) > from))
    .sort((a, b) => a.askedAt - b.askedAt);
}

/** When a recorded claim was over, ms since 1970. */
function lastsUntil({ was, ending }: Claim): number {
  if (was.kind !== 'placed') return was.kind === 'waiting' ? Infinity : was.at;
  if (ending.kind === 'after') return was.at + ending.ms;
  return ending.kind === 'at' ? ending.at : Infinity;
}
