import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import type { NatsConnection } from 'nats';
import type { StoredRecord } from './check-histories';

/** Reads every message of a stream by sequence, through the plain client: none of Volley's own reading code is trusted here. */
export async function readHistories(nats: NatsConnection, stream: string): Promise<StoredRecord[]> {
  const manager = await jetstreamManager(nats);
  const { state } = await manager.streams.info(stream);
  if (state.messages === 0) return [];
  const consumer = await jetstream(nats).consumers.get(stream, {});
  const records: StoredRecord[] = [];
  const messages = await consumer.consume({ max_messages: 1_000 });
  for await (const message of messages) {
    records.push({ subject: message.subject, sequence: message.seq, record: message.json() });
    if (message.seq >= state.last_seq) break;
  }
  return records;
}
