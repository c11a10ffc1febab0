import { createHmac, randomBytes } from 'node:crypto';
import type { KV } from '@nats-io/kv';
import type { NatsConnection } from 'nats';
import { openKeyValue, retry } from '#journal';
import { OperationError, TENANT_BUCKET } from '#protocol';

/** Beside the tenants; no tenant can be called this. */
const KEY = 'ALIAS_KEY';
/** How long the store may take to answer, ms. */
const DEADLINE_MS = 15_000;
const LETTERS = '0123456789abcdefghjkmnpqrstvwxyz';

/**
 * Makes the names under which tenants know hosts. A tenant can tell its own microVMs' hosts apart, over time too, but neither what
 * they are called nor whether another tenant speaks of the same one.
 */
export class AliasKey {
  private constructor(private readonly secret: Buffer) {}

  /** The fleet's key: the first who asks makes it, and it stays. @throws OperationError `unavailable` */
  static async open(nc: NatsConnection, deadlineMs = DEADLINE_MS): Promise<AliasKey> {
    try {
      const bucket = await openKeyValue(nc, TENANT_BUCKET);
      // While servers of a cluster choose a leader for it, a bucket that is open answers nothing.
      return await retry(nc, deadlineMs, 'read it', () => AliasKey.#in(bucket));
    } catch (error) {
      throw new OperationError('unavailable', `the key of host names cannot be read: ${(error as Error).message}`);
    }
  }

  static async #in(bucket: KV): Promise<AliasKey> {
    const stored = await bucket.get(KEY);
    if (stored?.operation === 'PUT') return new AliasKey(Buffer.from(stored.value));
    const secret = randomBytes(32);
    await bucket.create(KEY, secret).catch(() => undefined); // another was faster; what it made counts
    const kept = await bucket.get(KEY);
    if (kept) return new AliasKey(Buffer.from(kept.value));
    throw new Error('it is not kept');
  }

  static of(secret: Uint8Array): AliasKey {
    return new AliasKey(Buffer.from(secret));
  }

  /** What `tenant` calls this host. */
  aliasOf(tenant: string, hostId: string): string {
    const digest = createHmac('sha256', this.secret).update(`${tenant}\0${hostId}`).digest();
    return `h-${Array.from(digest.subarray(0, 12), (byte) => LETTERS[byte & 31]).join('')}`;
  }
}
