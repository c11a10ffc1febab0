import { DiscardPolicy } from '@nats-io/jetstream';
import { nanos, type NatsConnection } from 'nats';
import { Journal } from '#journal';
import { USAGE_STREAM, UsageRecord } from '#protocol';

/** What microVMs used. The oldest goes when it is full: it is worth less than what it would stop. */
export function openUsageJournal(nc: NatsConnection): Promise<Journal<UsageRecord>> {
  return Journal.open(nc, {
    stream: USAGE_STREAM.name,
    subjects: [...USAGE_STREAM.subjects],
    immutable: false,
    maxBytes: USAGE_STREAM.maxBytes,
    decode: (json) => UsageRecord.parse(json),
    onUnreadable: () => undefined, // of a later version, or none of ours
    extra: { discard: DiscardPolicy.Old, max_age: nanos(USAGE_STREAM.maxAgeMs) },
  });
}
