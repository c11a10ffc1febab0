import { extname, join } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { Logger } from 'pino';
import type { SampleTarget } from '#density';
import type { AgentConfig } from '../host/agent-config';
import type { RunWatcher } from '../microvms/agent-context';
import type { SamplerOrder, SamplerRound } from './sampler-messages';

export interface DensityWatchParts {
  config: Pick<AgentConfig, 'reportIntervalMs' | 'sampleIntervalMs' | 'sampleBudgetMs'>;
  log: Logger;
}

/** Heap of the sampler's thread, MiB. */
const HEAP_MIB = 64;

/** Keeps the sampler's thread told of what runs, and asks it for a round every report interval. Measures; others decide. */
export class DensityWatch implements RunWatcher {
  readonly #targets = new Map<string, SampleTarget>();
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

  began(target: SampleTarget): void {
    this.#targets.set(target.id, target);
    this.#newcomers.set(target.id, target);
  }

  ended(microvmId: string): void {
    if (!this.#targets.delete(microvmId)) return;
    this.#newcomers.delete(microvmId);
    this.#leavers.add(microvmId);
  }

  /** Gets every round. */
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

  #startWorker(): void {
    const { sampleIntervalMs: intervalMs, sampleBudgetMs: budgetMs } = this.parts.config;
    const worker = new Worker(join(__dirname, `sampler.worker${extname(__filename)}`), {
      workerData: { intervalMs, budgetMs },
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MIB },
      name: 'volley-sampler',
    });
    this.#worker = worker;
    worker.unref();
    for (const target of this.#targets.values()) this.#newcomers.set(target.id, target);
    worker.on('message', (round: SamplerRound) => {
      this.#answered = round.number;
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
