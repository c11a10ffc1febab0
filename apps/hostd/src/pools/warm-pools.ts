import type { Logger } from 'pino';
import type { PoolPolicy } from '#protocol';
import { ArrivalRate } from './arrival-rate';
import { poolSize } from './pool-size';

export interface WarmPoolsParts {
  /** Keeps so many jailed processes ready beyond those that are kept anyway. */
  keepMore: (count: number) => void;
  /** How long one of them takes to be ready, s. */
  makeS: () => number;
  /** All pools of the host together. */
  most: number;
  /** Monotonic clock, s. */
  nowS: () => number;
  log: Logger;
}

/**
 * The pools of this host: for each template that has one, as many jailed processes are kept ready as the demand for its clones asks
 * for. A process takes its identity when it is claimed, by the launch into it, so any pool's serves any clone and nothing of one tenant
 * waits in it; what they are made for is added up.
 */
export class WarmPools {
  #policies: ReadonlyMap<string, PoolPolicy> = new Map();
  readonly #rates = new Map<string, ArrivalRate>();
  #kept = 0;

  constructor(private readonly parts: WarmPoolsParts) {}

  setPolicies(policies: ReadonlyMap<string, PoolPolicy>): void {
    this.#policies = policies;
    for (const id of this.#rates.keys()) if (!policies.has(id)) this.#rates.delete(id);
    this.adjust();
  }

  /** A clone of this template starts. */
  arrived(templateId: string): void {
    if (!this.#policies.has(templateId)) return;
    const rate = this.#rates.get(templateId) ?? new ArrivalRate();
    this.#rates.set(templateId, rate);
    rate.arrived(this.parts.nowS());
  }

  /** To be called now and then: demand fades by itself. */
  adjust(): void {
    const { keepMore, makeS, most, nowS, log } = this.parts;
    const now = nowS();
    let sum = 0;
    for (const [id, policy] of this.#policies) {
      const rate = this.#rates.get(id);
      const demand = { perSecond: rate?.perSecond(now) ?? 0, makeS: makeS(), quietS: rate?.quietS(now) ?? Infinity };
      sum += poolSize(policy, demand);
    }
    const wanted = Math.min(most, sum);
    if (wanted === this.#kept) return;
    log.debug({ from: this.#kept, to: wanted }, 'pools of warm clones change');
    this.#kept = wanted;
    keepMore(wanted);
  }
}
