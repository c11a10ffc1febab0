import { AckPolicy, DeliverPolicy, ReplayPolicy, type ConsumerInfo, type JetStreamManager } from '@nats-io/jetstream';
import { createInbox, nanos, type Msg, type NatsConnection, type Subscription } from 'nats';
import { traitsOf } from './connection-traits';
import type { ConnectionWatch } from './connection-watch';
import type { JournalEntry } from './journal-entry';
import { parseDelivery, type Delivery } from './journal-entry';
import { HistoryLostError, JournalUnavailableError } from './journal-errors';
import { SequenceWaiters } from './sequence-waiters';

export interface FollowOptions<Record> {
  /** Only subjects that match this one (wildcards allowed). Absent: all, which is also the fastest. */
  filter?: string;
  /** First sequence wanted: one more than what the caller has already seen. Default 1. */
  fromSequence?: number;
  /**
   * Whether a record is known already, for instance because this process wrote it: it then counts as seen without being read. Asked
   * for every record, so it must cost less than reading one.
   */
  isKnown?: (subject: string, sequence: number) => boolean;
  /**
   * Told of a record that this journal is appending, and that comes back before its acknowledgement does: whoever has decided it need not
   * read it. False: it is to be handed to `onRecord` like any other.
   */
  takesOwn?: (subject: string, sequence: number) => boolean;
  /**
   * Gets every record once, in order. Synchronous on purpose: when it returns, the record counts as seen. An exception from
   * it ends the follower (see `onFailure`), for a projection that skipped a record is wrong for ever.
   */
  onRecord: (entry: JournalEntry<Record>) => void;
  /** Called once, when everything has been handed over that was there at the start. */
  onCaughtUp?: () => void;
  /** Called when following cannot go on. Default: the error is thrown as an uncaught exception, which ends the process. */
  onFailure?: (error: Error) => void;
  /** Called, for logs and metrics, whenever delivery had to be restarted. */
  onRestart?: (reason: string) => void;
}

/** A running follower of a journal. */
export interface Follower {
  /** Every matching record up to this sequence has been handed to `onRecord`. */
  readonly position: number;
  /** Resolves when everything has been handed over that was there at the start. Rejects when the follower ends before. */
  readonly caughtUp: Promise<void>;
  /**
   * Resolves when the follower has seen `sequence`: read-your-writes for a projection. With a `filter`, wait only for
   * sequences of matching records.
   *
   * @throws JournalUnavailableError when it has not within `deadlineMs`, or the follower has ended.
   */
  waitFor(sequence: number, deadlineMs: number): Promise<void>;
  /** Stops. Nothing is handed over after it was called. */
  close(): void;
}

/** How often the server says that it is alive when there is nothing to deliver. */
const HEARTBEAT_MS = 500;
/** Silence after which delivery is restarted: two heartbeats and some slack. */
const SILENCE_MS = 1300;
const RETRY_MS = { first: 20, most: 500 };

interface FollowerDependencies<Record> {
  nc: NatsConnection;
  jsm: JetStreamManager;
  watch: ConnectionWatch;
  stream: string;
  /** Makes an entry of a message, or undefined when it is to be skipped. Throws when it is to end the follower. */
  read: (msg: Msg, delivery: Delivery) => JournalEntry<Record> | undefined;
}

/**
 * One ordered consumer: an ephemeral push consumer without acknowledgements, thrown away and made anew from the last seen
 * sequence whenever delivery is not provably gapless (a hole in the delivery sequence, silence, a reconnect).
 *
 * Push, because a stored record then reaches us with no request in between; and our own instead of the client's, because that
 * one waits for a pull to expire before it notices that the server died, and does not notice a history that went backwards.
 */
export class StreamFollower<Record> implements Follower {
  readonly caughtUp: Promise<void>;
  #position: number;
  /** Counts incarnations of the consumer; what belongs to an earlier one is ignored. */
  #generation = 0;
  #subscription: Subscription | undefined;
  #consumer: string | undefined;
  /** Delivered in this incarnation. */
  #delivered = 0;
  /** How many deliveries of this incarnation were there when it began, and the last sequence then. */
  #backlog: { count: number; lastSequence: number } | undefined;
  #isCaughtUp = false;
  #ended = false;
  #streamCreated: string | undefined;
  #lastActivityMs = 0;
  #lastTickMs = 0;
  #offReconnect: () => void;
  #ticker: NodeJS.Timeout;
  readonly #waiters = new SequenceWaiters();
  #settleCaughtUp!: { resolve: () => void; reject: (error: Error) => void };

  constructor(
    private readonly deps: FollowerDependencies<Record>,
    private readonly options: FollowOptions<Record>,
  ) {
    this.#position = (options.fromSequence ?? 1) - 1;
    this.caughtUp = new Promise((resolve, reject) => (this.#settleCaughtUp = { resolve, reject }));
    this.caughtUp.catch(() => undefined); // not everybody waits for it
    this.#offReconnect = deps.watch.onReconnect(() => this.#restart('reconnected'));
    this.#ticker = setInterval(() => this.#checkSilence(), HEARTBEAT_MS);
    this.#ticker.unref();
    void deps.nc.closed().then((error) => {
      if (error)
        this.#fail(new JournalUnavailableError('the NATS connection was closed', 'notWritten', { cause: error }));
      else this.close();
    });
    void this.#start(++this.#generation);
  }

  get position(): number {
    return this.#position;
  }

  waitFor(sequence: number, deadlineMs: number): Promise<void> {
    if (sequence <= this.#position) return Promise.resolve();
    if (this.#ended) return Promise.reject(new JournalUnavailableError('the follower has ended', 'notWritten'));
    return this.#waiters.add(sequence, deadlineMs, () => this.#position);
  }

  close(): void {
    this.#end(new JournalUnavailableError('the follower was closed', 'notWritten'));
  }

  #end(error: Error): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#generation++;
    clearInterval(this.#ticker);
    this.#offReconnect();
    this.#dropConsumer();
    this.#waiters.rejectAll(error);
    this.#settleCaughtUp.reject(error);
  }

  #fail(error: Error): void {
    if (this.#ended) return;
    this.#end(error);
    if (this.options.onFailure) this.options.onFailure(error);
    else {
      queueMicrotask(() => {
        throw error;
      });
    }
  }

  #restart(reason: string): void {
    if (this.#ended) return;
    this.options.onRestart?.(reason);
    this.#dropConsumer();
    void this.#start(++this.#generation);
  }

  #dropConsumer(): void {
    const { nc } = this.deps;
    if (this.#subscription && !nc.isClosed()) this.#subscription.unsubscribe();
    this.#subscription = undefined;
    if (this.#consumer) this.#deleteConsumer(this.#consumer);
    this.#consumer = undefined;
  }

  /** Best effort: the server drops a consumer without listener by itself within seconds. */
  #deleteConsumer(name: string): void {
    const { nc, jsm, watch, stream } = this.deps;
    if (nc.isClosed() || nc.isDraining() || !watch.connected) return;
    jsm.consumers.delete(stream, name).catch(() => undefined);
  }

  async #start(generation: number): Promise<void> {
    const { nc } = this.deps;
    for (let delay = RETRY_MS.first; ; delay = Math.min(delay * 2, RETRY_MS.most)) {
      try {
        await this.#createConsumer(generation);
        return;
      } catch (error) {
        if (generation !== this.#generation) return;
        if (error instanceof HistoryLostError) return this.#fail(error);
        if (nc.isClosed() || nc.isDraining()) return; // closed() says the rest
        this.options.onRestart?.(`could not start: ${String(error)}`);
        this.#subscription?.unsubscribe();
      }
      await this.deps.watch.reconnected(delay);
      if (generation !== this.#generation) return;
    }
  }

  async #createConsumer(generation: number): Promise<void> {
    const { nc, jsm, stream } = this.deps;
    const lastSequence = await this.#checkHistory();
    if (generation !== this.#generation) return;

    const inbox = createInbox(traitsOf(nc).inboxPrefix);
    this.#delivered = 0;
    this.#backlog = undefined;
    this.#lastActivityMs = this.#lastTickMs = performance.now();
    this.#subscription = nc.subscribe(inbox, {
      callback: (error, msg) => {
        if (generation !== this.#generation) return;
        if (error) this.#fail(error);
        else this.#onMessage(msg);
      },
    });
    const info: ConsumerInfo = await jsm.consumers.add(stream, {
      deliver_subject: inbox,
      deliver_policy: DeliverPolicy.StartSequence,
      opt_start_seq: this.#position + 1,
      ...(this.options.filter === undefined ? {} : { filter_subject: this.options.filter }),
      ack_policy: AckPolicy.None,
      replay_policy: ReplayPolicy.Instant,
      flow_control: true,
      idle_heartbeat: nanos(HEARTBEAT_MS),
      inactive_threshold: nanos(5_000),
      mem_storage: true,
      num_replicas: 1,
      max_deliver: 1,
    });
    if (generation !== this.#generation) {
      this.#deleteConsumer(info.name);
      return;
    }
    this.#consumer = info.name;
    this.#backlog = { count: info.num_pending + info.delivered.consumer_seq, lastSequence };
    this.#checkCaughtUp();
  }

  /** Proves that the stream still holds what was seen and what is to be seen. Returns its last sequence. */
  async #checkHistory(): Promise<number> {
    const { jsm, stream } = this.deps;
    const { state, created } = await jsm.streams.info(stream);
    this.#streamCreated ??= created;
    if (created !== this.#streamCreated) {
      throw new HistoryLostError(
        `stream ${stream} was replaced: it was created at ${this.#streamCreated}, now at ${created}`,
      );
    }
    if (state.last_seq < this.#position) {
      throw new HistoryLostError(
        `stream ${stream} ends at ${state.last_seq}, but ${this.#position} was seen already: the server lost its last records`,
      );
    }
    if (this.#position > 0 && state.first_seq > this.#position + 1) {
      throw new HistoryLostError(`stream ${stream} begins at ${state.first_seq}, but ${this.#position + 1} is wanted`);
    }
    return state.last_seq;
  }

  #onMessage(msg: Msg): void {
    this.#lastActivityMs = performance.now();
    const delivery = parseDelivery(msg.reply);
    if (!delivery) return this.#onControl(msg);
    if (delivery.deliverySequence !== this.#delivered + 1 || delivery.streamSequence <= this.#position) {
      return this.#restart(`delivery ${delivery.deliverySequence} came after ${this.#delivered}`);
    }
    try {
      const entry = this.deps.read(msg, delivery);
      if (entry) this.options.onRecord(entry);
    } catch (error) {
      return this.#fail(error instanceof Error ? error : new Error(String(error)));
    }
    if (this.#ended) return; // onRecord closed us
    this.#delivered = delivery.deliverySequence;
    this.#position = delivery.streamSequence;
    this.#waiters.reached(this.#position);
    this.#checkCaughtUp(delivery.pending);
  }

  /** Heartbeats and flow control: headers only. */
  #onControl(msg: Msg): void {
    if (msg.reply) {
      this.deps.nc.publish(msg.reply); // flow control: we are done with everything up to here
      return;
    }
    const stalled = msg.headers?.get('Nats-Consumer-Stalled');
    if (stalled) this.deps.nc.publish(stalled);
    const last = msg.headers?.get('Nats-Last-Consumer');
    if (last && Number(last) !== this.#delivered)
      this.#restart(`the server says ${last} were delivered, got ${this.#delivered}`);
  }

  /** `pending`: what the server still has for us. Less is left than there was at the start when histories are compacted meanwhile. */
  #checkCaughtUp(pending?: number): void {
    if (!this.#backlog) return;
    const { count, lastSequence } = this.#backlog;
    if (this.#delivered < count && pending !== 0 && this.#position < lastSequence) return;
    // Everything that was there when this incarnation began is here; what did not match the filter needs no delivery.
    this.#position = Math.max(this.#position, lastSequence);
    this.#backlog = undefined;
    this.#waiters.reached(this.#position);
    if (this.#isCaughtUp) return;
    this.#isCaughtUp = true;
    this.#settleCaughtUp.resolve();
    this.options.onCaughtUp?.();
  }

  #checkSilence(): void {
    const now = performance.now();
    // When our own loop was held up, the heartbeats are still in the socket: that is not the server's silence.
    if (now - this.#lastTickMs > 2 * HEARTBEAT_MS) this.#lastActivityMs = now;
    this.#lastTickMs = now;
    if (!this.deps.watch.connected || !this.#consumer) return;
    if (now - this.#lastActivityMs > SILENCE_MS)
      this.#restart(`silent for ${Math.round(now - this.#lastActivityMs)} ms`);
  }
}
