import { foldHostRecord, hostContext, hostState, IllegalHistoryError, type HostLife } from '#lifecycle';
import type { HostDescription, HostRecord } from '#protocol';
import { phasesWith, type RecordedLimits } from './limits-in-force';

/** What a host was from an instant on. */
export interface HostPhase {
  /** ms since 1970. */
  readonly at: number;
  /** Only `ready` takes new microVMs; null: it is not there. */
  readonly state: string | null;
  readonly description: HostDescription;
}

/** A host over time, oldest phase first. */
export interface HostPlan {
  readonly hostId: string;
  readonly phases: readonly HostPhase[];
}

/** Reads from the histories of hosts what each of them was when, record by record in the order of the stream. */
export class HostReader {
  readonly #lives = new Map<string, HostLife>();
  readonly #phases = new Map<string, HostPhase[]>();

  /** A record that no fold takes is left out, as everywhere. */
  take(record: HostRecord, sequence: number): void {
    const { hostId, at } = record;
    try {
      const life = foldHostRecord(this.#lives.get(hostId) ?? null, record, sequence);
      this.#lives.set(hostId, life);
      const { description } = hostContext(life);
      if (!description) return;
      const state = hostState(life);
      const phases = this.#phases.get(hostId) ?? [];
      this.#phases.set(hostId, phases);
      phases.push({ at, state: state === 'retired' ? null : state, description });
    } catch (error) {
      if (!(error instanceof IllegalHistoryError)) throw error;
    }
  }

  /** Every host that was there at some time in a span, with its phases of then; in order of their ids. `limits`: what policies came to, in order of time. */
  plans(from: number, to: number, limits: readonly RecordedLimits[] = []): HostPlan[] {
    const limitsOf = new Map<string, RecordedLimits[]>();
    for (const one of limits) {
      const sameHost = limitsOf.get(one.hostId);
      if (sameHost) sameHost.push(one);
      else limitsOf.set(one.hostId, [one]);
    }
    const plans: HostPlan[] = [];
    for (const [hostId, registered] of [...this.#phases].sort(([a], [b]) => (a < b ? -1 : 1))) {
      const all = phasesWith(registered, limitsOf.get(hostId) ?? []);
      const before = all.filter(({ at }) => at <= from).at(-1);
      const later = all.filter(({ at }) => at > from && at < to);
      const phases = before ? [{ ...before, at: from }, ...later] : later;
      if (phases.some(({ state }) => state !== null)) plans.push({ hostId, phases });
    }
    return plans;
  }
}
