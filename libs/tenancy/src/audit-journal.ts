import { DiscardPolicy } from '@nats-io/jetstream';
import { nanos, type NatsConnection } from 'nats';
import { Journal } from '#journal';
import { AUDIT_STREAM, AuditBatch } from '#protocol';

/** The stream of the audit. The oldest goes when it is full: a fleet must not stop for want of room to write down what it does. */
export function openAuditJournal(nc: NatsConnection): Promise<Journal<AuditBatch>> {
  return Journal.open(nc, {
    stream: AUDIT_STREAM.name,
    subjects: [...AUDIT_STREAM.subjects],
    immutable: false,
    maxBytes: AUDIT_STREAM.maxBytes,
    decode: (json) => AuditBatch.parse(json),
    onUnreadable: () => undefined, // of a later version, or none of ours: nothing that a reader could be shown
    extra: { discard: DiscardPolicy.Old, max_age: nanos(AUDIT_STREAM.maxAgeMs) },
  });
}
