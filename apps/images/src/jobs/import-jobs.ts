import { createHash, randomBytes } from 'node:crypto';
import type { Logger } from 'pino';
import { Pacer } from '#concurrency';
import type { ImageJobs } from '#images';
import { canonicalJson, OperationError, type ImageJob } from '#protocol';
import type { Importer, ImportRequest } from '../import/importer';

export interface ImportJobsOptions {
  /** Imports that go on at the same time; the others wait. */
  atOnce: number;
  /** Imports that may wait; more are refused. */
  mostWaiting: number;
  /** How often it is written down that those that run are alive, in ms. */
  beatMs: number;
  /** So long after the last word of a service, its imports count as failed. */
  abandonedMs: number;
}

const DEFAULT_JOBS_OPTIONS: ImportJobsOptions = { atOnce: 2, mostWaiting: 64, beatMs: 2_000, abandonedMs: 10_000 };

const ABANDONED = 'the image service ended while it ran; import it again';
/** Progress is written down no more often than this, in ms. */
const WRITE_EVERY_MS = 250;

interface Running {
  job: ImageJob;
  startedAt: number;
  key: string;
  controller: AbortController;
  done: Promise<void>;
  /** Writes one after the other. */
  writes: Promise<void>;
  writtenAt: number;
}

/** Runs imports in the background. How each goes is written down where every replica and a later service finds it. */
export class ImportJobs {
  readonly #running = new Map<string, Running>();
  readonly #pacer: Pacer;
  readonly #options: ImportJobsOptions;
  #beat: NodeJS.Timeout | undefined;
  #stopping = false;

  constructor(
    private readonly jobs: ImageJobs,
    private readonly importer: Pick<Importer, 'import' | 'check'>,
    private readonly log: Logger,
    options: Partial<ImportJobsOptions> = {},
  ) {
    this.#options = { ...DEFAULT_JOBS_OPTIONS, ...options };
    this.#pacer = new Pacer(this.#options.atOnce);
  }

  /** Calls failed what an earlier service left running, now and whenever one is found silent. */
  async begin(): Promise<void> {
    await this.#failAbandoned();
    this.#beat = setInterval(() => void this.#beatOnce(), this.#options.beatMs);
  }

  get count(): number {
    return this.#running.size;
  }

  /**
   * Begins an import. The same request as one that runs is that one.
   *
   * @throws ImageError, OperationError when it cannot even begin.
   */
  async start(request: ImportRequest): Promise<ImageJob> {
    this.importer.check(request);
    const { by: _by, ...what } = request;
    // Credentials are part of it, and leave this process in no form.
    const key = createHash('sha256').update(canonicalJson(what)).digest('hex');
    for (const running of this.#running.values()) if (running.key === key) return running.job;
    if (this.#stopping) throw new OperationError('unavailable', 'the image service is shutting down; try again');
    if (this.#pacer.waiting >= this.#options.mostWaiting) {
      throw new OperationError('unavailable', `${this.#pacer.waiting} imports are waiting already; try again later`);
    }
    const id = randomBytes(12).toString('hex');
    const running: Running = {
      job: { id, name: request.name, state: 'running', message: 'waiting for its turn' },
      startedAt: Date.now(),
      key,
      controller: new AbortController(),
      done: Promise.resolve(),
      writes: Promise.resolve(),
      writtenAt: 0,
    };
    this.#running.set(id, running);
    try {
      await this.jobs.put(running.job, running.startedAt);
    } catch (error) {
      this.#running.delete(id);
      throw error;
    }
    running.done = this.#run(running, request);
    return running.job;
  }

  /** @throws OperationError `notFound` */
  async get(id: string, waitMs: number): Promise<ImageJob> {
    const job = /^[0-9a-f]{24}$/.test(id) ? await this.jobs.over(id, waitMs) : undefined;
    if (!job) throw new OperationError('notFound', `there is no import ${id}; imports are remembered for a day`);
    return job;
  }

  /** When the oldest import that runs anywhere began, ms since 1970. */
  oldestRunning(): Promise<number | undefined> {
    return this.jobs.oldestRunning();
  }

  /** Gives up every import, and writes that down. */
  async stop(): Promise<void> {
    this.#stopping = true;
    clearInterval(this.#beat);
    for (const { controller } of this.#running.values()) controller.abort();
    await Promise.all([...this.#running.values()].map(({ done }) => done));
  }

  async #run(running: Running, request: ImportRequest): Promise<void> {
    const { id, name } = running.job;
    const { signal } = running.controller;
    const startedMs = performance.now();
    let release: (() => void) | undefined;
    try {
      release = await this.#pacer.acquire(signal);
      const say = (message: string): void => this.#say(running, message);
      say('begins');
      const image = await this.importer.import(request, { signal, say });
      const ms = Math.round(performance.now() - startedMs);
      this.log.info({ id, name, digest: image.digest, bytes: image.bytes, ms }, 'imported');
      running.job = { id, name, state: 'done', message: `imported in ${(ms / 1000).toFixed(1)} s`, image };
    } catch (error) {
      running.job = { id, name, state: 'failed', ...this.#reasonOf(error, running) };
      this.log.warn({ id, name, code: running.job.code, reason: running.job.message }, 'an import failed');
    } finally {
      release?.();
      await this.#write(running).catch((error: unknown) => {
        this.log.error({ err: error, id }, 'the end of an import could not be written down');
      });
      this.#running.delete(id);
    }
  }

  #reasonOf(error: unknown, { job, controller }: Running): { message: string; code: string } {
    if (controller.signal.aborted) return { message: ABANDONED, code: 'unavailable' };
    if (error instanceof OperationError) return { message: error.message, code: error.code };
    const reference = randomBytes(4).toString('hex');
    this.log.error({ err: error, id: job.id, reference }, 'an import failed for a reason that nobody thought of');
    return {
      message: `internal error; the log of the image service has it under ${reference}`,
      code: 'internal',
    };
  }

  #say(running: Running, message: string): void {
    if (running.job.state !== 'running') return;
    running.job = { ...running.job, message };
    if (performance.now() - running.writtenAt < WRITE_EVERY_MS) return; // the next beat tells it
    void this.#write(running).catch(() => undefined);
  }

  #write(running: Running): Promise<void> {
    running.writtenAt = performance.now();
    const write = running.writes.then(() => this.jobs.put(running.job, running.startedAt));
    running.writes = write.catch(() => undefined);
    return write;
  }

  async #beatOnce(): Promise<void> {
    for (const running of this.#running.values()) {
      if (running.job.state === 'running') await this.#write(running).catch(() => undefined);
    }
    await this.#failAbandoned();
  }

  async #failAbandoned(): Promise<void> {
    try {
      const ids = await this.jobs.failAbandoned(this.#options.abandonedMs, ABANDONED);
      if (ids.length > 0) this.log.warn({ ids }, 'imports of a service that ended are failed');
    } catch (error) {
      this.log.debug({ err: error }, 'abandoned imports could not be looked for');
    }
  }
}
