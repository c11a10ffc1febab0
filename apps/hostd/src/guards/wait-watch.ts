import type { MicrovmReading } from '#density';

/** Older measurements say nothing about now, ms. */
const FRESH_MS = 10_000;
/** Less vCPU time than this, in cores, is no evidence: a timer that fires does not make a busy host. */
const LEAST_CORES = 0.05;
/** Less than this, as cores, is idle. */
const IDLE_CORES = 0.01;

type Measured = Pick<MicrovmReading, 'id' | 'epoch' | 'cpuCores' | 'runNs' | 'delayNs'>;
interface Known {
  reading: Measured;
  atMs: number;
  busyAtMs: number;
}

/** What all of the class `guaranteed` wanted of CPUs between two rounds, and how much of it they waited. */
interface Round {
  fromMs: number;
  atMs: number;
  wantedNs: number;
  waitedNs: number;
}

export interface WaitWatchParts {
  /** Undefined: it does not run here. */
  isGuaranteed: (microvmId: string) => boolean | undefined;
  /** Steady clock, ms. */
  nowMs: () => number;
}

/** Remembers of every microVM how long its vCPUs waited lately, and when it last had something to do. */
export class WaitWatch {
  readonly #known = new Map<string, Known>();
  #rounds: Round[] = [];

  constructor(private readonly parts: WaitWatchParts) {}

  /** Takes what was measured of some microVMs. */
  round(readings: readonly Measured[]): void {
    const atMs = this.parts.nowMs();
    const round = { fromMs: atMs, atMs, wantedNs: 0, waitedNs: 0 };
    for (const reading of readings) {
      const before = this.#known.get(reading.id);
      const isBusy = reading.cpuCores >= IDLE_CORES || before?.reading.epoch !== reading.epoch;
      this.#known.set(reading.id, { reading, atMs, busyAtMs: isBusy ? atMs : before.busyAtMs });
      // The first measurement covers its start, in which everybody waits.
      if (before?.reading.epoch !== reading.epoch || this.parts.isGuaranteed(reading.id) !== true) continue;
      const waitedNs = reading.delayNs - before.reading.delayNs;
      round.waitedNs += waitedNs;
      round.wantedNs += reading.runNs - before.reading.runNs + waitedNs;
      round.fromMs = Math.min(round.fromMs, before.atMs);
    }
    this.#rounds = [...this.#rounds.filter((one) => atMs - one.atMs < FRESH_MS), round];
    for (const [id, known] of this.#known) {
      if (atMs - known.atMs > FRESH_MS && this.parts.isGuaranteed(id) === undefined) this.#known.delete(id);
    }
  }

  /**
   * Wait % of the class `guaranteed`, all of it together over the last ten seconds: what one guest waits while two others compute says
   * nothing of the host. Null: its vCPUs asked for too little time to tell.
   */
  guaranteedWait(): number | null {
    const now = this.parts.nowMs();
    const rounds = this.#rounds.filter(({ atMs }) => now - atMs < FRESH_MS);
    const ms = now - Math.min(now - 1, ...rounds.map(({ fromMs }) => fromMs));
    const wantedNs = rounds.reduce((sum, one) => sum + one.wantedNs, 0);
    const waitedNs = rounds.reduce((sum, one) => sum + one.waitedNs, 0);
    return wantedNs / 1e6 / ms < LEAST_CORES ? null : (100 * waitedNs) / wantedNs;
  }

  /** For how long it has had nothing to do, ms; undefined: it was not measured yet. */
  idleMs(microvmId: string): number | undefined {
    const known = this.#known.get(microvmId);
    return known && this.parts.nowMs() - known.busyAtMs;
  }
}
