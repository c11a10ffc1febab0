import type { KV } from '@nats-io/kv';
import type { NatsConnection } from 'nats';
import { openKeyValue } from '#journal';
import { Retention, RETENTION_BUCKET } from '#protocol';

const KEY = 'compacted';
const NOTHING: Retention = { days: null, compactedBefore: null, ranAt: null };

/** Where it is written how far retention has come: who looks into the past must know what may be missing there. */
export class RetentionMark {
  private constructor(private readonly bucket: KV) {}

  /** @throws StreamConfigError, JournalUnavailableError */
  static async open(nc: NatsConnection): Promise<RetentionMark> {
    return new RetentionMark(await openKeyValue(nc, RETENTION_BUCKET));
  }

  async read(): Promise<Retention> {
    const stored = await this.bucket.get(KEY);
    return stored?.operation === 'PUT' ? Retention.parse(stored.json()) : NOTHING;
  }

  /** Notes what is changed. What was compacted once stays compacted, whatever is set later. */
  async note(change: Partial<Retention>): Promise<Retention> {
    const before = await this.read();
    const next = { ...before, ...change };
    const compactedBefore = Math.max(before.compactedBefore ?? 0, next.compactedBefore ?? 0) || null;
    const noted = { ...next, compactedBefore };
    await this.bucket.put(KEY, JSON.stringify(noted));
    return noted;
  }
}
