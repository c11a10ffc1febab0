import type { MicrovmSample, MicrovmUsage, UsageRecord } from '#protocol';

/** Of CPUs and of memory. */
type Limits = [cpu: number, memory: number];

interface Gathered {
  epoch: number;
  samples: number;
  cores: number;
  peakCores: number;
  wait: number;
  memoryMiB: number;
}

/** Smaller changes than these are not recorded: thousandths of a core, of waiting, MiB; and the share of what was there before. */
const NOTICEABLE = { milliCores: 10, wait: 10, memoryMiB: 1, share: 0.1 } as const;
/** Every so many intervals all are recorded, so that a reader need not go further back. */
const WHOLE_EVERY = 20;

/** Makes records of what the microVMs of one host use from the samples that it sends. */
export class UsageBook {
  /** What was last recorded, by id. */
  #recorded = new Map<string, MicrovmUsage>();
  #gathered = new Map<string, Gathered>();
  /** Number of the interval since 1970; undefined: nothing was heard yet. */
  #interval: number | undefined;
  #records = 0;
  #limits: Limits | undefined;
  #recordedLimits: Limits | undefined;

  constructor(
    readonly hostId: string,
    /** ms. Intervals begin at multiples of it, so that two who listen make the same records. */
    readonly intervalMs: number,
  ) {}

  /** So far it may promise what it has, from now on: ratios that a policy derives are in no history. */
  promises(cpu: number, memory: number): void {
    this.#limits = [cpu, memory];
  }

  /** Takes samples of an instant (ms since 1970, by the host's clock); gives the record of the interval before when they begin another one. */
  take(samples: readonly MicrovmSample[], at: number): UsageRecord | undefined {
    const interval = Math.floor(at / this.intervalMs);
    const record = this.#interval !== undefined && interval > this.#interval ? this.#close(this.#interval) : undefined;
    if (this.#interval === undefined || interval > this.#interval) this.#interval = interval;
    for (const sample of samples) this.#gather(sample);
    return record;
  }

  #gather({ id, epoch, cpuCores, vcpuWaitPercent, proportionalKiB }: MicrovmSample): void {
    let one = this.#gathered.get(id);
    if (!one || one.epoch !== epoch) {
      one = { epoch, samples: 0, cores: 0, peakCores: 0, wait: 0, memoryMiB: 0 };
      this.#gathered.set(id, one);
    }
    one.samples++;
    one.cores += cpuCores;
    one.peakCores = Math.max(one.peakCores, cpuCores);
    one.wait += vcpuWaitPercent;
    one.memoryMiB = Math.max(one.memoryMiB, proportionalKiB / 1024);
  }

  #close(interval: number): UsageRecord {
    const whole = this.#records++ % WHOLE_EVERY === 0;
    const microvms: MicrovmUsage[] = [];
    // Who was not measured in a whole interval of records is gone, or will be recorded when it is measured again.
    const kept = whole ? new Map<string, MicrovmUsage>() : this.#recorded;
    for (const [id, one] of this.#gathered) {
      const usage: MicrovmUsage = [
        id,
        one.epoch,
        Math.round((1_000 * one.cores) / one.samples),
        Math.round(1_000 * one.peakCores),
        Math.round((10 * one.wait) / one.samples),
        Math.round(one.memoryMiB),
      ];
      const before = this.#recorded.get(id);
      if (whole || !before || differs(before, usage)) {
        microvms.push(usage);
        kept.set(id, usage);
      }
    }
    this.#recorded = kept;
    this.#gathered = new Map();
    const { hostId, intervalMs } = this;
    const limits = this.#limits;
    const sameLimits = limits?.every((limit, i) => limit === this.#recordedLimits?.[i]) ?? true;
    this.#recordedLimits = limits;
    return {
      ...{ version: 1, hostId, from: interval * intervalMs, to: (interval + 1) * intervalMs, whole, microvms },
      ...(limits && (whole || !sameLimits) ? { limits } : {}),
    };
  }
}

function differs(before: MicrovmUsage, now: MicrovmUsage): boolean {
  const far = (i: 2 | 3 | 4 | 5, least: number): boolean =>
    Math.abs(now[i] - before[i]) > Math.max(least, NOTICEABLE.share * before[i]);
  return (
    before[1] !== now[1] ||
    far(2, NOTICEABLE.milliCores) ||
    far(3, NOTICEABLE.milliCores) ||
    far(4, NOTICEABLE.wait) ||
    far(5, NOTICEABLE.memoryMiB)
  );
}
