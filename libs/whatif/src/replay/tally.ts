import type { Claim } from '../load/claim';

/** What became of the claims of one tenant, or of all. */
export interface ClaimCounts {
  asked: number;
  placed: number;
  refused: number;
  /** Stopped, deleted or expired while they waited, or waiting where the record ends. */
  unanswered: number;
  /** Never came, because the claim before them was refused. */
  neverCame: number;
}

export const noClaims = (): ClaimCounts => ({ asked: 0, placed: 0, refused: 0, unanswered: 0, neverCame: 0 });

/** Counts what becomes of the claims of a replay that were asked for within the span. */
export class Tally {
  readonly all = noClaims();
  readonly tenants = new Map<string, ClaimCounts>();
  /** Refusals by the filter that most hosts failed, or `host` where hosts themselves refused. */
  readonly reasons = new Map<string, number>();
  /** How long those waited that were placed, ms. */
  readonly waits: number[] = [];
  /** Starts that a host refused, whatever became of them then. */
  hostRefusals = 0;
  /** The most that was promised at a time, over all hosts. */
  readonly peak = { microvms: 0, vcpus: 0, memoryMiB: 0 };

  constructor(private readonly from: number) {}

  count(claim: Claim, what: keyof ClaimCounts): void {
    if (claim.askedAt < this.from) return;
    this.all[what]++;
    const { tenant } = claim.demand;
    const counts = this.tenants.get(tenant) ?? noClaims();
    counts[what]++;
    this.tenants.set(tenant, counts);
  }

  refused(claim: Claim, reason: string): void {
    if (claim.askedAt < this.from) return;
    this.count(claim, 'refused');
    this.reasons.set(reason, (this.reasons.get(reason) ?? 0) + 1);
  }

  placed(claim: Claim, at: number): void {
    this.count(claim, 'placed');
    if (claim.askedAt >= this.from) this.waits.push(at - claim.askedAt);
  }
}
