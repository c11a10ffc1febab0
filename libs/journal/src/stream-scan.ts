import { AckPolicy, DeliverPolicy, type JetStreamManager } from '@nats-io/jetstream';
import { createInbox, nanos, type Msg, type NatsConnection } from 'nats';
import { traitsOf } from './connection-traits';
import { parseDelivery, type Delivery } from './journal-entry';

/**
 * Records that are asked for at a time. A push consumer fills the socket, and a process then does nothing else until it has worked
 * that off; between two batches everybody has a turn.
 */
const BATCH = 256;
const ANSWER_MS = 2_000;
/** JetStream's words for: there are no more messages at the moment. */
const NO_MORE = new Set([404, 408]);

/**
 * Hands over what a stream holds from a sequence on, in order, until its end or until `onMessage` has seen enough, batch by batch.
 *
 * @throws Error when an answer is late or lost; what was handed over by then was so in order and without a gap.
 */
export async function scanStream(
  nc: NatsConnection,
  jsm: JetStreamManager,
  stream: string,
  fromSequence: number,
  onMessage: (msg: Msg, delivery: Delivery) => 'enough' | void,
): Promise<void> {
  const { name } = await jsm.consumers.add(stream, {
    deliver_policy: DeliverPolicy.StartSequence,
    opt_start_seq: fromSequence,
    ack_policy: AckPolicy.None,
    inactive_threshold: nanos(5_000),
    mem_storage: true,
    num_replicas: 1,
    max_deliver: 1,
  });
  try {
    for (let delivered = 0; ;) {
      const batch = await nextBatch(nc, `$JS.API.CONSUMER.MSG.NEXT.${stream}.${name}`, delivered, onMessage);
      if (batch === 'over') return;
      delivered += batch;
      await new Promise((resolve) => setImmediate(resolve));
    }
  } finally {
    if (!nc.isClosed() && !nc.isDraining()) jsm.consumers.delete(stream, name).catch(() => undefined);
  }
}

/** Asks for one batch; tells how many came, or `over`. */
function nextBatch(
  nc: NatsConnection,
  subject: string,
  delivered: number,
  onMessage: (msg: Msg, delivery: Delivery) => 'enough' | void,
): Promise<number | 'over'> {
  return new Promise((resolve, reject) => {
    let count = 0;
    const inbox = createInbox(traitsOf(nc).inboxPrefix);
    const settle = (outcome: number | 'over' | Error): void => {
      clearTimeout(late);
      if (!nc.isClosed()) subscription.unsubscribe();
      if (outcome instanceof Error) reject(outcome);
      else resolve(outcome);
    };
    const late = setTimeout(() => settle(new Error('no records came')), ANSWER_MS);
    const subscription = nc.subscribe(inbox, {
      callback: (error, msg) => {
        if (error) return settle(error);
        const delivery = parseDelivery(msg.reply);
        if (!delivery)
          return settle(NO_MORE.has(msg.headers?.code ?? 0) ? 'over' : new Error(msg.headers?.description));
        late.refresh();
        if (delivery.deliverySequence !== delivered + ++count) return settle(new Error('a delivery was lost'));
        try {
          if (onMessage(msg, delivery) === 'enough' || delivery.pending === 0) return settle('over');
        } catch (failure) {
          return settle(failure as Error);
        }
        if (count === BATCH) settle(count);
      },
    });
    nc.publish(subject, JSON.stringify({ batch: BATCH, no_wait: true }), { reply: inbox });
  });
}
