import type { Logger } from 'pino';
import type { PoolPolicy } from '#protocol';
import { ArrivalRate } from './arrival-rate';
import { poolSize } from './pool-size';

export interface WarmPoolsParts {
  /** Keeps so many clones ready of each template. */
  keep: (wanted: ReadonlyMap<string, number>) => void;
  /** How long one of them takes to be ready, s. */
  makeS: () => number;
  /** All pools of the host together. */
  most: number;
  /** Monotonic clock, s. */
  nowS: () => number;
  log: Logger;
}

/** The pools of this host: for each template that has one, as many clones are kept ready as the demand for them asks for. */
export class WarmPools {
  #policies: ReadonlyMap<string, PoolPolicy> = new Map();
  readonly #rates = new Map<string, ArrivalRate>();
  #kept = '';

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
    const { keep, makeS, most, nowS, log } = this.parts;
    const now = nowS();
    const wanted = new Map<string, number>();
    let left = most;
    for (const [id, policy] of this.#policies) {
      const rate = this.#rates.get(id);
      const demand = { perSecond: rate?.perSecond(now) ?? 0, makeS: makeS(), quietS: rate?.quietS(now) ?? Infinity };
      const count = Math.min(left, poolSize(policy, demand));
      left -= count;
      if (count > 0) wanted.set(id, count);
    }
    const kept = JSON.stringify([...wanted]);
    if (kept === this.#kept) return;
    log.debug({ from: this.#kept, to: kept }, 'pools of warm clones change');
    this.#kept = kept;
    keep(wanted);
  }
}
