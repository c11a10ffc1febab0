import type { Claim } from '../load/claim';
import type { HostPlan } from '../load/host-plan';
import { numbersOf, type Oracle } from '../replay/replay';
import { usedAt, type UsageSeriesOf } from './usage-series';

export interface FutureOptions {
  /** ms since 1970. */
  from: number;
  to: number;
  stepMs: number;
  seed: number;
}

interface Future {
  cpus: number;
  roomMiB: number;
  cores: Float64Array;
  memoryMiB: Float64Array;
}

/**
 * The oracle of "Take it to the limit" (EuroSys'21): a host takes one more when the peak of what those on it will use together, from now to the
 * end of the record, stays within what it has. What is not measured counts in full, as promised.
 */
export class FutureBooks implements Oracle {
  readonly #futures = new Map<string, Future>();

  constructor(
    hosts: readonly HostPlan[],
    private readonly usage: UsageSeriesOf,
    private readonly options: FutureOptions,
  ) {
    const steps = Math.max(1, Math.ceil((options.to - options.from) / options.stepMs));
    for (const { hostId, phases } of hosts) {
      const { cpus, memoryMiB, reserveMiB } = phases.at(-1)!.description;
      const empty = (): Float64Array => new Float64Array(steps);
      this.#futures.set(hostId, { cpus, roomMiB: memoryMiB - reserveMiB, cores: empty(), memoryMiB: empty() });
    }
  }

  mayTake(hostId: string, claim: Claim, at: number, until: number): boolean {
    const future = this.#futures.get(hostId);
    if (!future) return false;
    return this.#steps(claim, at, until, (step, cores, memoryMiB) => {
      return future.cores[step]! + cores <= future.cpus && future.memoryMiB[step]! + memoryMiB <= future.roomMiB;
    });
  }

  take(hostId: string, claim: Claim, at: number, until: number): void {
    const future = this.#futures.get(hostId);
    if (!future) return;
    this.#steps(claim, at, until, (step, cores, memoryMiB) => {
      future.cores[step]! += cores;
      future.memoryMiB[step]! += memoryMiB;
      return true;
    });
  }

  /** Visits every step of a stay with what is used in it, as long as `visit` says so. */
  #steps(
    claim: Claim,
    at: number,
    until: number,
    visit: (step: number, cores: number, memoryMiB: number) => boolean,
  ): boolean {
    const { from, to, stepMs, seed } = this.options;
    const series = this.usage.of(claim, () => numbersOf(claim, seed)());
    const { vcpus, memoryMiB } = claim.demand;
    const first = Math.max(0, Math.floor((at - from) / stepMs));
    const last = Math.ceil((Math.min(until, to) - from) / stepMs) - 1;
    for (let step = first; step <= last; step++) {
      const used = series && usedAt(series, Math.max(0, from + step * stepMs - at));
      if (!visit(step, used?.wantedCores ?? vcpus, used?.memoryMiB ?? memoryMiB)) return false;
    }
    return true;
  }
}
