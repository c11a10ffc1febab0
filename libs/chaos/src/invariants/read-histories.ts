import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import type { NatsConnection } from 'nats';
import type { StoredRecord } from './check-histories';

const READ_MS = 10_000;

/**
 * Reads every message of a stream by sequence, from the given one on, through the plain client: none of Volley's own reading code is
 * trusted here. Rejects when the stream cannot be read to its end within 10 s.
 */
export async function readHistories<R extends StoredRecord = StoredRecord>(
  nats: NatsConnection,
  stream: string,
  from = 1,
): Promise<R[]> {
  const manager = await jetstreamManager(nats);
  const { state } = await manager.streams.info(stream);
  if (state.messages === 0 || state.last_seq < from) return [];
  const consumer = await jetstream(nats).consumers.get(stream, { opt_start_seq: Math.max(from, state.first_seq) });
  const records: R[] = [];
  const messages = await consumer.consume({ max_messages: 1_000 });
  const late = setTimeout(() => messages.stop(new Error(`${stream} could not be read within ${READ_MS} ms`)), READ_MS);
  try {
    for await (const message of messages) {
      const expected = message.headers?.get('Nats-Expected-Last-Subject-Sequence');
      records.push({
        subject: message.subject,
        sequence: message.seq,
        expected: expected ? Number(expected) : undefined,
        record: message.json(),
      } as R);
      if (message.seq >= state.last_seq) return records;
    }
  } finally {
    clearTimeout(late);
  }
  throw new Error(`${stream} ended at ${records.at(-1)?.sequence ?? 0}, before ${state.last_seq}`);
}

/** Sequence of the last message of a stream; 0: there is none. */
export async function lastSequence(nats: NatsConnection, stream: string): Promise<number> {
  return (await (await jetstreamManager(nats)).streams.info(stream)).state.last_seq;
}
