import type { WhatIfOutcome, WhatIfQuestion, WhatIfReport, WhatIfScenario } from '#protocol';
import { Endings } from './load/endings';
import type { Load } from './load/load';
import { outcomeOf, type Run } from './outcome';
import { recordedCounts } from './recorded-counts';
import type { HostPlan } from './load/host-plan';
import { Replay, type ReplayedStay, type ReplayOptions } from './replay/replay';
import type { Tally } from './replay/tally';
import { capacityIn, hostsIn } from './scenario';
import { spreadOf } from './spread';
import { contentionOf } from './usage/contention';
import { DerivedLimits } from './usage/derived-limits';
import { FutureBooks } from './usage/future-books';
import { UsageSeriesOf } from './usage/usage-series';

/** Steps in which usage is looked at, at most; none is shorter than this, ms. */
const MOST_STEPS = 2_000;
const LEAST_STEP_MS = 1_000;
/** Runs for each number of hosts that is tried. */
const RUNS_TO_COMPARE = 3;
/** Promises do not bind an oracle. */
const NO_LIMIT = 1e6;

/** What would have become of a load: as it was, and in each alternative. Pure, and takes as long as it takes: nothing for an event loop that serves. */
export function whatIf(load: Load & { compacted: number }, question: WhatIfQuestion): WhatIfReport {
  return new WhatIf(load, question).report();
}

class WhatIf {
  readonly #endings: Endings;
  readonly #usage: UsageSeriesOf;
  readonly #stepMs: number;

  constructor(
    private readonly load: Load & { compacted: number },
    private readonly question: WhatIfQuestion,
  ) {
    const { claims, usage = [], from, to } = load;
    this.#endings = new Endings(claims);
    this.#usage = new UsageSeriesOf(claims, usage);
    this.#stepMs = Math.max(LEAST_STEP_MS, Math.ceil((to - from) / MOST_STEPS));
  }

  report(): WhatIfReport {
    const { load, question } = this;
    const { from, to, hosts, compacted } = load;
    const asked = load.claims.filter(({ askedAt }) => askedAt >= from);
    const base = this.#outcome({});
    // What more hosts gain, chance may take away again.
    const most = base.refused.max;
    return {
      ...{ from, to, runs: question.runs },
      load: {
        claims: asked.length,
        carriedOver: load.claims.filter(({ askedAt, was }) => askedAt < from && was.kind === 'placed').length,
        tenants: new Set(asked.map(({ demand }) => demand.tenant)).size,
        hosts: hosts.length,
        unknownEndings: asked.filter(({ ending }) => ending.kind === 'unknown').length,
        measured: this.#usage.measured,
        compacted,
      },
      recorded: recordedCounts(asked),
      base: { ...base, fewestHosts: this.#fewestHosts({}, most) },
      alternatives: question.alternatives.map((scenario) => ({
        ...this.#outcome(scenario),
        fewestHosts: this.#fewestHosts(scenario, most),
      })),
      oracle: this.#usage.measured === 0 ? null : this.#outcome({}, true),
    };
  }

  #outcome(scenario: WhatIfScenario, withOracle = false): WhatIfOutcome {
    const hosts = hostsIn(scenario, this.load.hosts, this.load.from);
    const runs = Array.from({ length: this.question.runs }, (_, i) => this.#run(scenario, i + 1, withOracle));
    return outcomeOf(scenario, hosts, runs);
  }

  #run(scenario: WhatIfScenario, seed: number, withOracle: boolean): Run {
    const { load } = this;
    const hosts = hostsIn(scenario, load.hosts, load.from);
    const stays: ReplayedStay[] = [];
    const future = { from: load.from, to: load.to, stepMs: this.#stepMs, seed };
    const tally = this.#replay(scenario, hosts, seed, {
      ...(withOracle
        ? {
            capacityOf: capacityIn({ memoryRatio: NO_LIMIT, cpuRatio: NO_LIMIT }),
            oracle: new FutureBooks(hosts, this.#usage, future),
          }
        : {}),
      onStay: (stay) => void (this.#usage.measured > 0 && stays.push(stay)),
    });
    const contention = this.#usage.measured > 0 ? contentionOf(stays, hosts, this.#usage, future) : null;
    return { tally, contention };
  }

  #replay(scenario: WhatIfScenario, hosts: HostPlan[], seed: number, more: Partial<ReplayOptions>): Tally {
    const { policy } = scenario;
    const { reportIntervalMs } = this.question;
    const derives = policy !== undefined && policy.kind !== 'fixedRatio';
    const replay = new Replay(
      { ...this.load, hosts },
      {
        ...{ seed, reportIntervalMs, endings: this.#endings },
        capacityOf: capacityIn(scenario),
        limits: derives ? new DerivedLimits(policy, this.#usage, seed) : undefined,
        ...more,
      },
    );
    return replay.run();
  }

  /** By halving: more hosts refuse less, but for chance. */
  #fewestHosts(scenario: WhatIfScenario, mostRefused: number): number | null {
    const all = this.load.hosts.length;
    if (scenario.hosts !== undefined) return null;
    const suffices = (count: number): boolean => {
      const hosts = hostsIn({ ...scenario, hosts: count }, this.load.hosts, this.load.from);
      const refused = Array.from({ length: RUNS_TO_COMPARE }, (_, i) => {
        return this.#replay(scenario, hosts, i + 1, { mostRefused }).all.refused;
      });
      return spreadOf(refused).median <= mostRefused;
    };
    let [low, high] = [1, all + 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (suffices(middle)) high = middle;
      else low = middle + 1;
    }
    return low > all ? null : low;
  }
}
