import type { Logger } from 'pino';
import type { MicrovmReading } from '#density';
import type { HostClassSettings, RatioInForce } from '#protocol';
import { ratioOf, UsageHistory, type Admission, type MicrovmUsage } from '#scheduling';
import type { UsageLook, UsageMemory } from './usage-memory';

type Measured = Pick<MicrovmReading, 'id' | 'epoch' | 'runNs' | 'delayNs' | 'proportionalKiB'>;

/** One microVM in the window that is under way. */
interface InWindow {
  fromMs: number;
  from: Measured;
  toMs: number;
  to: Measured;
}

export interface RatioKeeperParts {
  admission: Pick<Admission, 'capacity' | 'commitment' | 'promise'>;
  /** What a microVM was promised; undefined: it does not run here. */
  promisedTo: (microvmId: string) => { vcpus: number; memoryMiB: number } | undefined;
  /** What was seen before this agent began. */
  memory: Pick<UsageMemory, 'recall' | 'keep'>;
  /** Steady clock, ms. */
  nowMs: () => number;
  log: Logger;
}

/**
 * Keeps the ratio that admission applies at what the policy of the host's class comes to: what microVMs use is recorded window by
 * window, and at the end of each the ratio is derived anew. A new agent goes on with what the one before it has seen.
 */
export class RatioKeeper {
  #hostClass!: string;
  #settings!: HostClassSettings;
  #history!: UsageHistory;
  readonly #window = new Map<string, InWindow>();
  #windowEndsMs = 0;
  #inForce!: RatioInForce;

  constructor(
    private readonly parts: RatioKeeperParts,
    hostClass: string,
    settings: HostClassSettings,
  ) {
    this.goBy(hostClass, settings);
  }

  /** From now on this policy holds. What was seen counts for it where it looks at the same; else it begins with what is kept for it. */
  goBy(hostClass: string, settings: HostClassSettings): void {
    const before = this.#settings as HostClassSettings | undefined;
    this.#hostClass = hostClass;
    this.#settings = settings;
    const look = lookOf(settings);
    if (!before || JSON.stringify(lookOf(before)) !== JSON.stringify(look)) {
      this.#history = new UsageHistory(look?.windows ?? 0, look?.waitPercent);
      if (look) for (const usages of this.parts.memory.recall(look)) this.#history.add(usages);
      this.#window.clear();
      this.#windowEndsMs = this.parts.nowMs() + this.#windowMs;
    }
    this.derive();
  }

  get inForce(): RatioInForce {
    return this.#inForce;
  }

  get #windowMs(): number {
    return (lookOf(this.#settings)?.windowSeconds ?? Infinity) * 1_000;
  }

  /** Takes what was measured of some microVMs. */
  round(readings: readonly Measured[]): void {
    const look = lookOf(this.#settings);
    if (!look) return;
    const atMs = this.parts.nowMs();
    for (const reading of readings) {
      const before = this.#window.get(reading.id);
      const goesOn = before && before.from.epoch === reading.epoch;
      const { fromMs, from } = goesOn ? before : { fromMs: atMs, from: reading };
      this.#window.set(reading.id, { fromMs, from, toMs: atMs, to: reading });
    }
    if (atMs < this.#windowEndsMs) return;
    this.#windowEndsMs = atMs + this.#windowMs;
    const usages = [...this.#usages()];
    this.#history.add(usages);
    void this.parts.memory.keep(look, usages);
    this.derive();
  }

  /** Applies what the policy comes to now. Called from outside when promises have changed at a stroke, as at an agent's start. */
  derive(): void {
    const { admission, log } = this.parts;
    const { policy, guaranteed } = this.#settings;
    const derived = ratioOf(policy, admission.capacity, admission.commitment(), this.#history);
    const { cpu, memory } = derived;
    admission.promise({ cpu, memory, ...(guaranteed ? { guaranteed } : {}) });
    const bound = guaranteed ? { guaranteed } : {};
    this.#inForce = { hostClass: this.#hostClass, policy, ...derived, ...bound };
    log.info({ cpu, memory, why: derived.why }, 'the overcommit ratio is derived');
  }

  /** What each took in the window, which ends here; the next one begins with its last measurement. */
  *#usages(): Iterable<MicrovmUsage> {
    for (const [microvmId, { fromMs, from, toMs, to }] of this.#window) {
      const promised = this.parts.promisedTo(microvmId);
      if (!promised) {
        this.#window.delete(microvmId);
        continue;
      }
      this.#window.set(microvmId, { fromMs: toMs, from: to, toMs, to });
      if (toMs <= fromMs) continue;
      const waitedNs = to.delayNs - from.delayNs;
      const wantedNs = to.runNs - from.runNs + waitedNs;
      yield {
        ...{ microvmId, ...promised },
        wantedCores: wantedNs / 1e6 / (toMs - fromMs),
        waitPercent: wantedNs > 0 ? (100 * waitedNs) / wantedNs : 0,
        usedMiB: to.proportionalKiB / 1_024,
      };
    }
  }
}

/** What of a policy says how use is recorded; undefined: it goes by none. */
function lookOf({ policy }: HostClassSettings): UsageLook | undefined {
  if (policy.kind === 'fixedRatio') return undefined;
  const { windows, windowSeconds } = policy;
  const waitPercent = policy.kind === 'complianceGoal' ? policy.waitPercent : undefined;
  return { windows, windowSeconds, waitPercent };
}
