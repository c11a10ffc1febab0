import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import { createHash } from 'node:crypto';
import type { KV } from '@nats-io/kv';
import type { NatsConnection } from 'nats';
import { NATS } from '#bus';
import { openKeyValue } from '#journal';
import { IDEMPOTENCY_BUCKET, OperationError } from '#protocol';

interface Entry {
  id: string;
  specHash: string;
}

/** Which microVM an idempotency key stands for. Entries live a day. */
@Injectable()
export class IdempotencyKeys implements OnModuleInit {
  #bucket!: KV;

  constructor(@Inject(NATS) private readonly nats: NatsConnection) {}

  async onModuleInit(): Promise<void> {
    this.#bucket = await openKeyValue(this.nats, IDEMPOTENCY_BUCKET);
  }

  /**
   * Takes the key for `entry`, or gives the entry that has it. Of any number of callers with one key, one takes it.
   * Throws OperationError `conflict` when the key stands for another spec.
   */
  async claim(tenant: string, key: string, entry: Entry): Promise<Entry> {
    const name = createHash('sha256').update(`${tenant}\0${key}`).digest('hex');
    try {
      await this.#bucket.create(name, JSON.stringify(entry));
      return entry;
    } catch (error) {
      const stored = await this.#bucket.get(name).catch(() => null);
      if (!stored || stored.operation !== 'PUT') {
        throw new OperationError('unavailable', `the idempotency key could not be taken: ${String(error)}; try again`);
      }
      const taken = stored.json<Entry>();
      if (taken.specHash !== entry.specHash) {
        throw new OperationError(
          'conflict',
          'this idempotency key was used with another body; use a new key for a new request',
        );
      }
      return taken;
    }
  }
}
