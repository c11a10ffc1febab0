import { extname, join } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { Logger } from 'pino';
import { HostDensity, type ControlGroup, type DeviceReading, type SampleTarget } from '#density';
import type { AgentConfig } from '../host/agent-config';
import type { RunWatcher } from '../microvms/agent-context';
import type { RunNews } from './run-news';
import type { SamplerOrder, SamplerRound, SamplerSettings } from './sampler-messages';

export interface DensityWatchParts {
  config: Pick<AgentConfig, 'reportIntervalMs' | 'sampleIntervalMs' | 'sampleBudgetMs'>;
  /** Where the kernel counts for all microVMs. */
  group: ControlGroup;
  log: Logger;
}

/** Heap of the sampler's thread, MiB. */
const HEAP_MIB = 64;

/** Keeps the sampler's thread told of what runs, and asks it for a round every report interval. Measures; others decide. */
export class DensityWatch implements RunWatcher {
  /** What the rounds add up to. */
  readonly host = new HostDensity();
  readonly #targets = new Map<string, SampleTarget>();
  readonly #devices = new Map<string, () => DeviceReading>();
  /** Told to the thread with the next round: a message for each would cost more than what it says. */
  readonly #newcomers = new Map<string, SampleTarget>();
  readonly #leavers = new Set<string>();
  #worker: Worker | undefined;
  #timer: NodeJS.Timeout | undefined;
  #asked = 0;
  #answered = 0;
  readonly #listeners: ((round: SamplerRound) => void)[] = [];
  #stopped = false;

  constructor(private readonly parts: DensityWatchParts) {}

  /** microVMs that are measured: those that have booted. */
  get count(): number {
    return this.#targets.size;
  }

  /** Where the kernel counts for one of them. */
  groupOf(microvmId: string): ControlGroup | undefined {
    return this.#targets.get(microvmId)?.group;
  }

  /** How old the latest reading of one of them is, ms; the clock is that of the readings. */
  ageMs(microvmId: string): number {
    const reading = this.host.of(microvmId)?.reading;
    return reading ? Math.max(0, Number(process.hrtime.bigint()) / 1e6 - reading.atMs) : 0;
  }

  began(target: SampleTarget, { devices, startSeconds }: RunNews = {}): void {
    if (devices) this.#devices.set(target.id, devices);
    if (startSeconds !== undefined) this.host.started(startSeconds);
    this.#targets.set(target.id, target);
    this.#newcomers.set(target.id, target);
  }

  ended(microvmId: string): void {
    if (!this.#targets.delete(microvmId)) return;
    this.#devices.delete(microvmId);
    this.host.forget(microvmId);
    this.#newcomers.delete(microvmId);
    this.#leavers.add(microvmId);
  }

  /** Gets every round, after {@link host} did. */
  listen(listener: (round: SamplerRound) => void): void {
    this.#listeners.push(listener);
  }

  /** Begins to measure. */
  start(): void {
    this.#startWorker();
    this.#timer = setInterval(() => this.#ask(), this.parts.config.reportIntervalMs);
    this.#timer.unref();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#timer);
    await this.#worker?.terminate();
  }

  #ask(): void {
    // A round that takes longer than the interval is not asked for twice.
    if (!this.#worker || this.#asked > this.#answered) return;
    const forget = [...this.#leavers];
    const track = [...this.#newcomers.values()];
    this.#leavers.clear();
    this.#newcomers.clear();
    const order: SamplerOrder = { number: ++this.#asked, track, forget };
    this.#worker.postMessage(order);
  }

  #devicesOf(microvmId: string): DeviceReading | undefined {
    try {
      return this.#devices.get(microvmId)?.();
    } catch {
      return undefined; // its page is gone, and the news of its end on the way
    }
  }

  #startWorker(): void {
    const { sampleIntervalMs: intervalMs, sampleBudgetMs: budgetMs } = this.parts.config;
    const worker = new Worker(join(__dirname, `sampler.worker${extname(__filename)}`), {
      workerData: { intervalMs, budgetMs, group: this.parts.group } satisfies SamplerSettings,
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MIB },
      name: 'volley-sampler',
    });
    this.#worker = worker;
    worker.unref();
    for (const target of this.#targets.values()) this.#newcomers.set(target.id, target);
    worker.on('message', (round: SamplerRound) => {
      this.#answered = round.number;
      // Somebody may have ended while it was being measured.
      const readings = round.readings.filter(({ id, epoch }) => this.#targets.get(id)?.epoch === epoch);
      this.host.take({ ...round, readings }, (id) => this.#devicesOf(id));
      for (const listener of this.#listeners) listener(round);
    });
    worker.on('error', (error) => this.parts.log.error({ err: error }, 'measuring failed'));
    worker.on('exit', () => {
      if (this.#stopped || this.#worker !== worker) return;
      this.#worker = undefined;
      this.#answered = this.#asked;
      setTimeout(() => {
        if (!this.#stopped) this.#startWorker();
      }, 1_000).unref();
    });
  }
}
