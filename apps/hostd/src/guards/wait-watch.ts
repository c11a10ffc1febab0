import type { MicrovmReading } from '#density';
import { waitOfTime, type WaitSample } from '#scheduling';

/** Older measurements say nothing about now, ms. */
const FRESH_MS = 10_000;
/** Less vCPU time than this, in cores, is no evidence: a timer that fires does not make a busy host. */
const LEAST_CORES = 0.05;
/** Of how much of the vCPU time the wait is told, percent. */
const OF_TIME = 99;
/** Less than this, as cores, is idle. */
const IDLE_CORES = 0.01;

type Measured = Pick<MicrovmReading, 'id' | 'epoch' | 'cpuCores' | 'runNs' | 'delayNs'>;
interface Known extends WaitSample {
  reading: Measured;
  atMs: number;
  busyAtMs: number;
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

  constructor(private readonly parts: WaitWatchParts) {}

  /** Takes what was measured of some microVMs. */
  round(readings: readonly Measured[]): void {
    const atMs = this.parts.nowMs();
    for (const reading of readings) {
      const before = this.#known.get(reading.id);
      // The first measurement covers its start, in which everybody waits.
      if (before?.reading.epoch !== reading.epoch) {
        this.#known.set(reading.id, { reading, atMs, busyAtMs: atMs, wanted: 0, waitPercent: 0 });
        continue;
      }
      const waitedNs = reading.delayNs - before.reading.delayNs;
      const wantedNs = reading.runNs - before.reading.runNs + waitedNs;
      this.#known.set(reading.id, {
        ...{ reading, atMs },
        wanted: wantedNs / 1e6 / Math.max(1, atMs - before.atMs),
        waitPercent: wantedNs > 0 ? (100 * waitedNs) / wantedNs : 0,
        busyAtMs: reading.cpuCores >= IDLE_CORES ? atMs : before.busyAtMs,
      });
    }
    for (const [id, known] of this.#known) {
      if (atMs - known.atMs > FRESH_MS && this.parts.isGuaranteed(id) === undefined) this.#known.delete(id);
    }
  }

  /** Wait % of the class `guaranteed`; null: its vCPUs asked for too little time to tell. */
  guaranteedWait(): number | null {
    const now = this.parts.nowMs();
    const samples: Known[] = [];
    for (const [id, one] of this.#known) {
      if (now - one.atMs <= FRESH_MS && this.parts.isGuaranteed(id) === true) samples.push(one);
    }
    const cores = samples.reduce((sum, { wanted }) => sum + wanted, 0);
    return cores < LEAST_CORES ? null : waitOfTime(samples, OF_TIME);
  }

  /** For how long it has had nothing to do, ms; undefined: it was not measured yet. */
  idleMs(microvmId: string): number | undefined {
    const known = this.#known.get(microvmId);
    return known && this.parts.nowMs() - known.busyAtMs;
  }
}
