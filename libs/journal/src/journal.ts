import {
  AckPolicy,
  DeliverPolicy,
  JetStreamApiError,
  jetstream,
  jetstreamManager,
  type JetStreamClient,
  type JetStreamManager,
  type PubAck,
  type StoredMsg,
} from '@nats-io/jetstream';
import { createInbox, nanos, type Msg, type MsgHdrs, type NatsConnection } from 'nats';
import { traitsOf } from './connection-traits';
import { ConnectionWatch } from './connection-watch';
import { StreamFollower, type FollowOptions, type Follower } from './follower';
import {
  attemptOf,
  messageId,
  parseDelivery,
  StoredEntry,
  timestampToMs,
  type Delivery,
  type JournalEntry,
  type UnreadableMessage,
} from './journal-entry';
import {
  JournalUnavailableError,
  RecordTooLargeError,
  SequenceConflictError,
  UnreadableRecordError,
} from './journal-errors';
import { expectationIn, Overtaken } from './overtaken';
import { retry, RETRY_DELAY_MS } from './retry';
import { scanStream } from './stream-scan';
import { ensureStream, streamConfig, type StreamOptions } from './stream-config';

export interface JournalOptions<Record> extends StreamOptions {
  /** Makes a record of parsed JSON; throws when it is none. Upcasting of old records belongs here. Default: takes it as it is. */
  decode?: (json: unknown, subject: string) => Record;
  /**
   * Called for a message that is not a record, which is then skipped. It still moves its subject's last sequence. Default:
   * reading fails with UnreadableRecordError.
   */
  onUnreadable?: (message: UnreadableMessage) => void;
  /** How long an operation tries before it gives up, in ms. Default 10 s. */
  deadlineMs?: number;
}

export interface AppendOptions {
  /** Names the command that caused the record. An append repeated with the same id (within the duplicate window) writes nothing. */
  commandId: string;
  /** The last sequence that the caller knows of this subject; 0: there is none yet; 'any': no check. */
  expectedSequence: number | 'any';
  /** Overrides the journal's deadline, in ms. */
  deadlineMs?: number;
}

export interface Appended {
  readonly sequence: number;
  /** True when this command's record was there already: `sequence` is its place. */
  readonly duplicate: boolean;
}

export interface ScanOptions<Record> {
  /** Default 1. */
  fromSequence?: number;
  /** Gets every record once, in order; `enough` ends the reading. */
  onRecord: (entry: JournalEntry<Record>) => 'enough' | void;
  deadlineMs: number;
  signal?: AbortSignal | undefined;
}

/** All that is on record of one subject. */
export interface History<Record> {
  readonly entries: JournalEntry<Record>[];
  /** What to expect when appending: the last message of the subject, readable or not. 0: there is none. */
  readonly lastSequence: number;
}

const WRONG_LAST_SEQUENCE = 10071;
/** No room: more attempts do not help. */
const FULL_CODES = new Set([10023, 10047, 10077, 10122]);
const TOO_LARGE = 10054;
/** First wait for one answer; doubled with each attempt, so that a slow server is not drowned in retries. */
const ATTEMPT_MS = 1_000;

/**
 * An event store on one JetStream stream. A subject is one history: appends to it are ordered by the expected sequence, and
 * a record acknowledged once is neither lost nor doubled when the server or this process dies at any point.
 */
export class Journal<Record> {
  readonly #js: JetStreamClient;
  readonly #watch: ConnectionWatch;
  /** Records that are being appended, by subject, as they are stored. */
  readonly #underWay = new Map<string, Buffer>();

  private constructor(
    private readonly nc: NatsConnection,
    private readonly jsm: JetStreamManager,
    private readonly options: JournalOptions<Record>,
  ) {
    this.#js = jetstream(nc, { timeout: ATTEMPT_MS });
    this.#watch = ConnectionWatch.of(nc);
  }

  /**
   * Opens the journal; creates its stream if it is missing.
   *
   * @throws StreamConfigError when the server does not honour a setting.
   * @throws JournalUnavailableError when JetStream is not there within the deadline.
   */
  static async open<Record>(nc: NatsConnection, options: JournalOptions<Record>): Promise<Journal<Record>> {
    const config = streamConfig(options, traitsOf(nc).replicas ?? 1);
    const jsm = await retry(nc, options.deadlineMs ?? 10_000, `open stream ${options.stream}`, async () => {
      const manager = await jetstreamManager(nc, { timeout: 2_000 });
      await ensureStream(manager, config, nc.info?.version ?? 'of unknown version');
      return manager;
    });
    return new Journal(nc, jsm, options);
  }

  get stream(): string {
    return this.options.stream;
  }

  /**
   * Appends one record. Lost answers are retried with the same command id until the deadline, which is safe.
   *
   * @throws SequenceConflictError when the subject's last sequence is another one. Nothing was written that counts.
   * @throws RecordTooLargeError Nothing was written.
   * @throws JournalUnavailableError when there was no answer within the deadline; see its `outcome`.
   */
  async append(subject: string, record: Record, options: AppendOptions): Promise<Appended> {
    const { commandId, expectedSequence } = options;
    if (expectedSequence === 'any' || !this.#isReplicated) return this.#append(subject, record, options);
    for (let attempt = 1; ; attempt++) {
      // An attempt that does not count has used up the name of its command.
      const named = { ...options, commandId: attemptOf(commandId, attempt) };
      const appended = await this.#append(subject, record, named);
      if (await this.#counts(subject, appended, expectedSequence)) return appended;
      if (!appended.duplicate) throw new SequenceConflictError(subject, expectedSequence, appended.sequence);
    }
  }

  /** See {@link Overtaken}. */
  async #counts(subject: string, { sequence, duplicate }: Appended, expected: number): Promise<boolean> {
    const known = duplicate ? await this.#expectationOf(sequence) : expected;
    if (known === undefined || sequence === known + 1) return true;
    const query = { seq: known + 1, next_by_subj: subject };
    const next = await this.#retry(`look what came before ${sequence}`, () =>
      this.jsm.streams.getMessage(this.stream, query),
    );
    return !next || next.seq >= sequence;
  }

  async #expectationOf(sequence: number): Promise<number | undefined> {
    const stored = await this.#retry(`read record ${sequence}`, () =>
      this.jsm.streams.getMessage(this.stream, { seq: sequence }),
    );
    return stored ? expectationIn(stored.header) : undefined;
  }

  get #isReplicated(): boolean {
    return (traitsOf(this.nc).replicas ?? 1) > 1;
  }

  async #append(subject: string, record: Record, options: AppendOptions): Promise<Appended> {
    const body = Buffer.from(JSON.stringify(record));
    const maxBytes = this.options.maxRecordBytes ?? this.nc.info?.max_payload ?? Infinity;
    if (body.length > maxBytes) throw new RecordTooLargeError(subject, body.length, maxBytes);
    this.#underWay.set(subject, body);
    try {
      return await this.#publishUntilAnswered(subject, body, options);
    } finally {
      if (this.#underWay.get(subject) === body) this.#underWay.delete(subject);
    }
  }

  async #publishUntilAnswered(subject: string, body: Buffer, options: AppendOptions): Promise<Appended> {
    const publishOptions = {
      msgID: messageId(subject, options.commandId),
      expect: {
        streamName: this.stream,
        ...(options.expectedSequence === 'any' ? {} : { lastSubjectSequence: options.expectedSequence }),
      },
    };

    const deadlineMs = options.deadlineMs ?? this.options.deadlineMs ?? 10_000;
    const deadline = performance.now() + deadlineMs;
    let sent = false;
    let cause: unknown;
    for (let attemptMs = ATTEMPT_MS; ; attemptMs *= 2) {
      const left = deadline - performance.now();
      if (left <= 0) throw appendTimedOut(subject, deadlineMs, sent, cause);
      if (this.nc.isClosed() || this.nc.isDraining()) {
        throw new JournalUnavailableError('the NATS connection is closed', sent ? 'unknown' : 'notWritten', { cause });
      }
      if (!this.#watch.connected) {
        // Not into the client's buffer: what is not sent yet can be given up without doubt about its outcome.
        await this.#watch.reconnected(left);
        continue;
      }
      sent = true;
      try {
        const ack = await this.#publish(subject, body, {
          ...publishOptions,
          timeout: Math.max(1, Math.min(attemptMs, left)),
        });
        if (ack) return { sequence: ack.seq, duplicate: ack.duplicate };
      } catch (error) {
        cause = error;
        this.#throwIfFinal(error, subject, body.length, options.expectedSequence);
        await this.#watch.reconnected(Math.min(RETRY_DELAY_MS, left));
      }
    }
  }

  /** One attempt. Undefined: the connection came back meanwhile, so the answer may be lost; ask again at once. */
  #publish(
    subject: string,
    body: Uint8Array,
    options: Parameters<JetStreamClient['publish']>[2],
  ): Promise<PubAck | undefined> {
    return new Promise((resolve, reject) => {
      const off = this.#watch.onReconnect(() => resolve(undefined));
      this.#js.publish(subject, body, options).then(resolve, reject).finally(off);
    });
  }

  #throwIfFinal(error: unknown, subject: string, bytes: number, expected: number | 'any'): void {
    if (!(error instanceof JetStreamApiError)) return;
    if (error.code === WRONG_LAST_SEQUENCE && expected !== 'any') {
      const actual = /(\d+)\s*$/.exec(error.message)?.[1];
      throw new SequenceConflictError(subject, expected, actual === undefined ? undefined : Number(actual));
    }
    if (error.code === TOO_LARGE)
      throw new RecordTooLargeError(subject, bytes, this.options.maxRecordBytes ?? bytes - 1);
    if (FULL_CODES.has(error.code) || error.status < 500) {
      throw new JournalUnavailableError(
        `stream ${this.stream} refused a record of ${subject}: ${error.message}`,
        'notWritten',
        {
          cause: error,
        },
      );
    }
  }

  /**
   * Reads the whole history of one subject (no wildcards): every record that was acknowledged before the call.
   *
   * @throws UnreadableRecordError, JournalUnavailableError
   */
  async read(subject: string): Promise<History<Record>> {
    return this.#retry(`read ${subject}`, async () => {
      const read = this.#reader();
      const history: { entries: JournalEntry<Record>[]; lastSequence: number } = { entries: [], lastSequence: 0 };
      await this.#deliverAll(subject, (msg, delivery) => {
        const entry = read(msg, delivery);
        if (entry) history.entries.push(entry);
        history.lastSequence = delivery.streamSequence;
      });
      return history;
    });
  }

  /**
   * The last record of one subject, or undefined when there is none.
   *
   * @throws UnreadableRecordError, JournalUnavailableError
   */
  async lastOf(subject: string): Promise<JournalEntry<Record> | undefined> {
    const stored = await this.#lastMessage(subject);
    if (!stored) return undefined;
    return this.#decode(subject, stored.seq, timestampToMs(stored.timestamp), stored.data, () => stored.header);
  }

  /**
   * The record that lies at one sequence of the stream, or undefined when there is none (any more).
   *
   * @throws UnreadableRecordError, JournalUnavailableError
   */
  async recordAt(sequence: number): Promise<Record | undefined> {
    const stored = await this.#retry(`read record ${sequence}`, () =>
      this.jsm.streams.getMessage(this.stream, { seq: sequence }),
    );
    if (!stored) return undefined;
    return this.#decode(stored.subject, stored.seq, timestampToMs(stored.timestamp), stored.data, () => stored.header)
      .record;
  }

  /** The sequence to expect when appending to a subject; 0 when it has no message. */
  async lastSequenceOf(subject: string): Promise<number> {
    return (await this.#lastMessage(subject))?.seq ?? 0;
  }

  /** The stream's last sequence over all subjects; 0 when it is empty. */
  async lastSequence(): Promise<number> {
    return this.#retry('read the last sequence', async () => (await this.jsm.streams.info(this.stream)).state.last_seq);
  }

  /**
   * Removes all records of one subject but the last, which keeps the sequence that an append has to expect. All at once: a crash
   * leaves them all or one. Tells how many were removed. The stream must not be immutable.
   *
   * @throws JournalUnavailableError
   */
  async compact(subject: string): Promise<number> {
    const keepLast = { filter: subject, keep: 1 };
    return this.#retry(`compact ${subject}`, async () => (await this.jsm.streams.purge(this.stream, keepLast)).purged);
  }

  /**
   * Removes every record that was stored before an instant, of all subjects. Tells how many were removed. Only for streams whose
   * subjects nobody appends to with an expected sequence.
   *
   * @throws JournalUnavailableError
   */
  async trim(beforeMs: number): Promise<number> {
    return this.#retry(`trim ${this.stream}`, async () => {
      const { name, delivered } = await this.jsm.consumers.add(this.stream, {
        deliver_policy: DeliverPolicy.StartTime,
        opt_start_time: new Date(beforeMs).toISOString(),
        ack_policy: AckPolicy.None,
        inactive_threshold: nanos(5_000),
        mem_storage: true,
        num_replicas: 1,
      });
      this.jsm.consumers.delete(this.stream, name).catch(() => undefined);
      const first = delivered.stream_seq + 1;
      return first === 1 ? 0 : (await this.jsm.streams.purge(this.stream, { seq: first })).purged;
    });
  }

  /** When the first record that is left was stored, in ms since 1970; undefined when there is none. */
  async firstTimeMs(): Promise<number | undefined> {
    return this.#retry('read the first time', async () => {
      const { messages, first_ts } = (await this.jsm.streams.info(this.stream)).state;
      return messages === 0 ? undefined : timestampToMs(first_ts);
    });
  }

  /**
   * Reads the records of all subjects in their order, from a sequence on and up to where the journal ended when the reading began, or
   * until `onRecord` has seen enough. Others have a turn between batches; for who reads a long journal while it serves. Resolves with the
   * last sequence that was looked at. An exception of `onRecord` ends the reading and rejects.
   *
   * @throws UnreadableRecordError; JournalUnavailableError when it is not done within `deadlineMs`; the signal's reason.
   */
  async scan(options: ScanOptions<Record>): Promise<number> {
    const { fromSequence = 1, onRecord, deadlineMs, signal } = options;
    const end = await this.lastSequence();
    let position = fromSequence - 1;
    let failure: { error: unknown } | undefined;
    const entryOf = this.#reader();
    const read = (msg: Msg, delivery: Delivery): 'enough' | void => {
      if (signal?.aborted || delivery.streamSequence > end) return 'enough';
      try {
        const entry = entryOf(msg, delivery);
        if (entry && onRecord(entry) === 'enough') return 'enough';
      } catch (error) {
        failure = { error };
        return 'enough';
      }
      position = delivery.streamSequence;
      return position === end ? 'enough' : undefined;
    };
    signal?.throwIfAborted();
    if (position < end) {
      const attempt = () => scanStream(this.nc, this.jsm, this.stream, position + 1, read);
      await retry(this.nc, deadlineMs, `read ${this.stream}`, attempt, this.#watch);
    }
    signal?.throwIfAborted();
    if (failure) throw failure.error;
    return Math.max(position, fromSequence - 1);
  }

  /** Follows the journal: first what is there, then what comes, each record once and in order, whatever happens to the server. */
  follow(options: FollowOptions<Record>): Follower {
    return new StreamFollower<Record>(
      {
        nc: this.nc,
        jsm: this.jsm,
        watch: this.#watch,
        stream: this.stream,
        read: this.#reader(options),
      },
      options,
    );
  }

  #lastMessage(subject: string): Promise<StoredMsg | null> {
    const { jsm, stream } = this;
    const replicas = traitsOf(this.nc).replicas ?? 1;
    const query = { last_by_subj: subject };
    return this.#retry(`read the last record of ${subject}`, () => {
      // A direct get may be answered by a copy that lags behind; with several copies the leader is asked.
      if (replicas > 1) return jsm.streams.getMessage(stream, query);
      // It also takes a message with a status in its headers, which anybody may send, for a failure of its own.
      return jsm.direct.getMessage(stream, query).catch(() => jsm.streams.getMessage(stream, query));
    });
  }

  /** Hands over what one subject holds, through a consumer that lives only for that. */
  async #deliverAll(subject: string, onMessage: (msg: Msg, delivery: Delivery) => void): Promise<void> {
    const inbox = createInbox(traitsOf(this.nc).inboxPrefix);
    let finish!: (error?: Error) => void;
    const finished = new Promise<void>((resolve, reject) => (finish = (error) => (error ? reject(error) : resolve())));
    finished.catch(() => undefined);
    let delivered = 0;
    const silence = setTimeout(() => finish(new Error('delivery stalled')), 2_000);
    const off = this.#watch.onReconnect(() => finish(new Error('the connection was lost during the read')));
    const subscription = this.nc.subscribe(inbox, {
      callback: (error, msg) => {
        if (error) return finish(error);
        const delivery = parseDelivery(msg.reply);
        if (!delivery) {
          if (msg.reply) this.nc.publish(msg.reply); // flow control
          return;
        }
        silence.refresh();
        if (delivery.deliverySequence !== ++delivered) return finish(new Error('a delivery was lost'));
        try {
          onMessage(msg, delivery);
        } catch (failure) {
          return finish(failure as Error);
        }
        if (delivery.pending === 0) finish();
      },
    });
    let consumer: string | undefined;
    try {
      const info = await this.jsm.consumers.add(this.stream, {
        deliver_subject: inbox,
        filter_subject: subject,
        deliver_policy: DeliverPolicy.All,
        ack_policy: AckPolicy.None,
        flow_control: true,
        idle_heartbeat: nanos(1_000),
        inactive_threshold: nanos(5_000),
        mem_storage: true,
        num_replicas: 1,
        max_deliver: 1,
      });
      consumer = info.name;
      if (info.num_pending + info.delivered.consumer_seq === 0) return;
      await finished;
    } finally {
      clearTimeout(silence);
      off();
      if (!this.nc.isClosed()) subscription.unsubscribe();
      if (consumer) this.jsm.consumers.delete(this.stream, consumer).catch(() => undefined);
    }
  }

  /** Makes entries of the messages of one reading, in order; undefined for those that are no record, that do not count, or are known. */
  #reader({ isKnown, takesOwn }: Pick<FollowOptions<Record>, 'isKnown' | 'takesOwn'> = {}): Read<Record> {
    const overtaken = this.#isReplicated ? new Overtaken() : undefined;
    return (msg, delivery) => {
      const { subject } = msg;
      const { streamSequence } = delivery;
      if (isKnown?.(subject, streamSequence)) {
        overtaken?.counts(subject, streamSequence);
        return undefined;
      }
      const isOwn = takesOwn !== undefined && this.#underWay.get(subject)?.equals(msg.data) === true;
      const entry = isOwn ? undefined : this.#entry(msg, delivery);
      if (!entry && !isOwn) return undefined;
      if (overtaken?.isOvertaken(subject, streamSequence, expectationIn(msg.headers))) return undefined;
      return isOwn && takesOwn(subject, streamSequence) ? undefined : (entry ?? this.#entry(msg, delivery));
    };
  }

  #entry(msg: Msg, delivery: Delivery): JournalEntry<Record> | undefined {
    const { streamSequence, timeMs } = delivery;
    try {
      return this.#decode(msg.subject, streamSequence, timeMs, msg.data, () => msg.headers);
    } catch (error) {
      if (!(error instanceof UnreadableRecordError) || !this.options.onUnreadable) throw error;
      this.options.onUnreadable({ subject: msg.subject, sequence: streamSequence, timeMs, error: error.cause });
      return undefined;
    }
  }

  #decode(
    subject: string,
    sequence: number,
    timeMs: number,
    data: Uint8Array,
    headers: () => MsgHdrs | undefined,
  ): JournalEntry<Record> {
    let record: Record;
    try {
      const json: unknown = JSON.parse(UTF8.decode(data));
      record = this.options.decode ? this.options.decode(json, subject) : (json as Record);
    } catch (cause) {
      throw new UnreadableRecordError(subject, sequence, { cause });
    }
    return new StoredEntry(subject, sequence, timeMs, record, headers);
  }

  #retry<T>(what: string, attempt: () => Promise<T>): Promise<T> {
    return retry(this.nc, this.options.deadlineMs ?? 10_000, what, attempt, this.#watch);
  }
}

type Read<Record> = (msg: Msg, delivery: Delivery) => JournalEntry<Record> | undefined;

const UTF8 = new TextDecoder('utf-8', { fatal: true });

function appendTimedOut(subject: string, deadlineMs: number, sent: boolean, cause: unknown): JournalUnavailableError {
  return new JournalUnavailableError(
    `${subject}: no answer from JetStream within ${deadlineMs} ms` +
      (sent ? '; the record may be there, append again with the same command id' : '; nothing was sent'),
    sent ? 'unknown' : 'notWritten',
    { cause },
  );
}
