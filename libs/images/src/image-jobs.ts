import type { KV } from '@nats-io/kv';
import type { NatsConnection } from 'nats';
import { z } from 'zod';
import { openKeyValue } from '#journal';
import { IMAGE_JOB_BUCKET, ImageJob } from '#protocol';
import { storeError } from './object-bucket';

const Entry = z.strictObject({
  job: ImageJob,
  /** When it began, ms since 1970. */
  startedAt: z.number(),
  /** When whoever runs it was last heard of. */
  seenAt: z.number(),
});
type Entry = z.infer<typeof Entry>;

/** Imports under way and of the last day, where every replica of the image service finds them. */
export class ImageJobs {
  private constructor(private readonly bucket: KV) {}

  static async open(nc: NatsConnection): Promise<ImageJobs> {
    try {
      return new ImageJobs(await openKeyValue(nc, IMAGE_JOB_BUCKET));
    } catch (error) {
      throw storeError(error, 'the list of imports cannot be opened');
    }
  }

  /** Writes down how a job goes, and that whoever runs it is alive. */
  async put(job: ImageJob, startedAt: number): Promise<void> {
    const entry: Entry = { job, startedAt, seenAt: Date.now() };
    try {
      await this.bucket.put(job.id, JSON.stringify(entry));
    } catch (error) {
      throw storeError(error, 'how the import goes could not be written down');
    }
  }

  async get(id: string): Promise<ImageJob | undefined> {
    return (await this.#read(id))?.entry.job;
  }

  /** The job when it is over, or as it is after `waitMs`. Undefined: there is no such job. */
  async over(id: string, waitMs: number): Promise<ImageJob | undefined> {
    const now = await this.get(id);
    if (now?.state !== 'running' || waitMs <= 0) return now;
    let last = now;
    const watch = await this.bucket.watch({ key: id });
    const timer = setTimeout(() => watch.stop(), waitMs);
    try {
      for await (const entry of watch) {
        if (entry.operation !== 'PUT') continue;
        last = Entry.parse(entry.json()).job;
        if (last.state !== 'running') break;
      }
    } finally {
      clearTimeout(timer);
      watch.stop();
    }
    return last;
  }

  /** When the oldest import that runs began, ms since 1970; undefined when none does. */
  async oldestRunning(): Promise<number | undefined> {
    const started = (await this.#entries())
      .filter(({ entry }) => entry.job.state === 'running')
      .map(({ entry }) => entry.startedAt);
    return started.length === 0 ? undefined : Math.min(...started);
  }

  /** Calls failed what says that it runs although nobody was heard of for `silentMs`. Gives their ids. */
  async failAbandoned(silentMs: number, message: string): Promise<string[]> {
    const failed: string[] = [];
    for (const { entry, revision } of await this.#entries()) {
      const { job, seenAt } = entry;
      if (job.state !== 'running' || Date.now() - seenAt < silentMs) continue;
      const over: Entry = { ...entry, job: { ...job, state: 'failed', message, code: 'unavailable' } };
      try {
        await this.bucket.update(job.id, JSON.stringify(over), revision);
        failed.push(job.id);
      } catch {
        // somebody else wrote in between: it lives, or has failed it
      }
    }
    return failed;
  }

  async #entries(): Promise<{ entry: Entry; revision: number }[]> {
    try {
      const ids: string[] = [];
      for await (const id of await this.bucket.keys()) ids.push(id);
      const entries = await Promise.all(ids.map((id) => this.#read(id)));
      return entries.filter((one) => one !== undefined);
    } catch (error) {
      throw storeError(error, 'the list of imports cannot be read');
    }
  }

  async #read(id: string): Promise<{ entry: Entry; revision: number } | undefined> {
    try {
      const stored = await this.bucket.get(id);
      if (stored?.operation !== 'PUT') return undefined;
      const parsed = Entry.safeParse(stored.json());
      return parsed.success ? { entry: parsed.data, revision: stored.revision } : undefined;
    } catch (error) {
      throw storeError(error, 'how the import goes cannot be read');
    }
  }
}
