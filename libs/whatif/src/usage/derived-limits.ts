import type { OversubscriptionPolicy } from '#protocol';
import { ratioOf, UsageHistory, type Capacity, type Commitment, type MicrovmUsage, type Ratios } from '#scheduling';
import type { Claim } from '../load/claim';
import { numbersOf, type Limits } from '../replay/replay';
import { usedAt, type Used, type UsageSeries, type UsageSeriesOf } from './usage-series';

/**
 * The ratios that a policy would have come to on the hosts of a replay, by the very function that hosts' controllers ask, from what
 * the microVMs that the replay has put there used. That they wait for a CPU is by the simplest model: of what is wanted together beyond what
 * there is, everybody waits for the same part.
 */
export class DerivedLimits implements Limits {
  readonly windowMs: number;
  readonly #histories = new Map<string, UsageHistory>();

  constructor(
    private readonly policy: Exclude<OversubscriptionPolicy, { kind: 'fixedRatio' }>,
    private readonly usage: UsageSeriesOf,
    private readonly seed: number,
  ) {
    this.windowMs = policy.windowSeconds * 1_000;
  }

  ratios(
    hostId: string,
    capacity: Capacity,
    committed: Commitment,
    held: readonly { claim: Claim; from: number }[],
    at: number,
  ): Ratios {
    let history = this.#histories.get(hostId);
    if (!history) {
      const waitPercent = this.policy.kind === 'complianceGoal' ? this.policy.waitPercent : undefined;
      this.#histories.set(hostId, (history = new UsageHistory(this.policy.windows, waitPercent)));
    }
    const used = held.map(({ claim, from }) => ({ claim, ...this.#highest(claim, from, at) }));
    const wanted = used.reduce((sum, { wantedCores }) => sum + wantedCores, 0);
    const waitPercent = wanted > capacity.cpus ? 100 * (1 - capacity.cpus / wanted) : 0;
    history.add(
      used.map(({ claim, wantedCores, memoryMiB }): MicrovmUsage => {
        const { vcpus, memoryMiB: promisedMiB } = claim.demand;
        const microvmId = `${claim.microvmId}.${claim.round}`;
        return { microvmId, vcpus, memoryMiB: promisedMiB, wantedCores, waitPercent, usedMiB: memoryMiB };
      }),
    );
    return ratioOf(this.policy, capacity, committed, history);
  }

  /** The most that it used in the window that ends at `at`; all that it was promised where nothing is known. */
  #highest(claim: Claim, from: number, at: number): Omit<Used, 'at'> {
    const { vcpus, memoryMiB } = claim.demand;
    const series: UsageSeries | undefined = this.usage.of(claim, () => numbersOf(claim, this.seed)());
    if (!series) return { wantedCores: vcpus, memoryMiB };
    const begin = Math.max(0, at - this.windowMs - from);
    const highest = { ...usedAt(series, begin) };
    for (const used of series) {
      if (used.at <= begin || used.at >= at - from) continue;
      highest.wantedCores = Math.max(highest.wantedCores, used.wantedCores);
      highest.memoryMiB = Math.max(highest.memoryMiB, used.memoryMiB);
    }
    return highest;
  }
}
