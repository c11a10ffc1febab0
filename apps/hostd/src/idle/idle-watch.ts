import type { IdleStop, MicrovmSample } from '#protocol';

/** What the watch needs of a microVM that runs here. */
export interface IdleCandidate {
  epoch: number;
  /** Undefined: it is never stopped for want of use. */
  idleStop: IdleStop | undefined;
  /** False while it is paused, ending or not booted: then nobody expects it to do anything. */
  isServing: boolean;
}

export interface IdleWatchParts {
  /** Undefined: nothing of it runs here. */
  candidate: (microvmId: string) => IdleCandidate | undefined;
  /** Stops or suspends it in order; the message says why. */
  end: (microvmId: string, message: string) => void;
  /** Monotonic clock, ms. */
  nowMs: () => number;
}

interface Use {
  epoch: number;
  lastMs: number;
}

/**
 * Finds microVMs that nobody uses, in what the sampler measures anyway: so little CPU, VMM included, for so long, and nobody connected.
 * Needs no controller. The time counts from the first sample that this agent sees, so a restart of the agent begins it anew.
 */
export class IdleWatch {
  /** When each was last found in use; only of those that may be stopped. */
  readonly #uses = new Map<string, Use>();
  #sessionsIn: (microvmId: string) => number = () => 0;

  constructor(private readonly parts: IdleWatchParts) {}

  /** Who knows how many are connected to a microVM. */
  countSessionsBy(sessionsIn: (microvmId: string) => number): void {
    this.#sessionsIn = sessionsIn;
  }

  /** Somebody came, however shortly. */
  used(microvmId: string): void {
    const use = this.#uses.get(microvmId);
    if (use) use.lastMs = this.parts.nowMs();
  }

  /** Takes what was measured of some microVMs since they were measured before. */
  round(samples: readonly MicrovmSample[]): void {
    for (const id of this.#uses.keys()) if (!this.parts.candidate(id)) this.#uses.delete(id);
    for (const sample of samples) this.#judge(sample);
  }

  #judge({ id, epoch, cpuCores }: MicrovmSample): void {
    const candidate = this.parts.candidate(id);
    if (!candidate?.idleStop || candidate.epoch !== epoch) return;
    const { afterSeconds, cpuPercent } = candidate.idleStop;
    const now = this.parts.nowMs();
    const use = this.#uses.get(id);
    const isUsed = !candidate.isServing || cpuCores * 100 >= cpuPercent || this.#sessionsIn(id) > 0;
    if (isUsed || use?.epoch !== epoch) {
      this.#uses.set(id, { epoch, lastMs: now });
    } else if (now - use.lastMs >= afterSeconds * 1_000) {
      const done = candidate.idleStop.action === 'suspend' ? 'suspended' : 'stopped';
      this.parts.end(
        id,
        `${done} because it had used less than ${cpuPercent} % of a CPU for ${afterSeconds} s and nobody was connected`,
      );
      this.#uses.delete(id);
    }
  }
}
