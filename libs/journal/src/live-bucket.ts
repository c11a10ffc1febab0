import type { KV, KvEntry, KvWatchEntry } from '@nats-io/kv';
import type { NatsConnection, QueuedIterator } from 'nats';
import { openKeyValue } from './buckets';
import { ConnectionWatch } from './connection-watch';
import { JournalUnavailableError } from './journal-errors';
import { SequenceWaiters } from './sequence-waiters';

export interface LiveBucketOptions<T> {
  name: string;
  /** Makes a value of parsed JSON; throws when it is none. */
  decode: (json: unknown) => T;
  /** Whether a key is one of those that are held; others are left alone. Default: all are. */
  holds?: (key: string) => boolean;
  /** Told of entries that are no values; they count as absent. */
  onUnreadable?: ((key: string, error: unknown) => void) | undefined;
}

interface Held<T> {
  readonly value: T;
  readonly revision: number;
}

const RETRY_MS = 250;
/** How long a writer waits for a connection that is lost. */
const RECONNECT_MS = 2_000;
/** How long a writer waits to see its own change here. */
const READ_YOUR_WRITES_MS = 2_000;
/** JetStream: the last sequence of a subject is not the expected one. */
const WRONG_LAST_SEQUENCE = 10071;

/**
 * A KV bucket held in memory by a watch, so that a reader asks nobody and a change acts everywhere as soon as it is delivered.
 * After a lost connection everything is read anew: what was missed is told to listeners like any other change.
 */
export class LiveBucket<T> {
  #held = new Map<string, Held<T>>();
  readonly #listeners = new Set<(key: string, value: T | undefined) => void>();
  readonly #waiters = new SequenceWaiters();
  #position = 0;
  #entries: QueuedIterator<KvWatchEntry> | undefined;
  #closed = false;
  readonly #offReconnect: () => void;

  private constructor(
    private readonly nc: NatsConnection,
    private readonly bucket: KV,
    private readonly watch: ConnectionWatch,
    private readonly options: LiveBucketOptions<T>,
  ) {
    this.#offReconnect = watch.onReconnect(() => this.#entries?.stop());
  }

  /**
   * Opens the bucket, and makes it when it is not there. Resolves when it holds what is there now.
   *
   * @throws StreamConfigError, JournalUnavailableError; see {@link openKeyValue}. What NATS throws when it is lost meanwhile.
   */
  static async open<T>(nc: NatsConnection, options: LiveBucketOptions<T>): Promise<LiveBucket<T>> {
    const bucket = await openKeyValue(nc, { name: options.name });
    const live = new LiveBucket(nc, bucket, ConnectionWatch.of(nc), options);
    await live.#follow();
    return live;
  }

  get(key: string): T | undefined {
    return this.#held.get(key)?.value;
  }

  /** As {@link get}, but asks the bucket: it may have been written just now. Throws what NATS throws. */
  async find(key: string): Promise<T | undefined> {
    const entry = await this.bucket.get(key);
    return entry ? this.#read(entry)?.value?.value : undefined;
  }

  *values(): Generator<T> {
    for (const { value } of this.#held.values()) yield value;
  }

  /** The key of any value that satisfies the predicate. */
  keyWhere(predicate: (value: T) => boolean): string | undefined {
    for (const [key, { value }] of this.#held) if (predicate(value)) return key;
    return undefined;
  }

  /** Calls back for every change, with undefined for what is gone. Returns the way to stop. */
  onChange(listener: (key: string, value: T | undefined) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Writes what `change` makes of the value that is there; undefined removes it. Of several writers at once each sees the
   * others' changes: who comes late decides again. Resolves when the change is seen here.
   *
   * Throws what NATS and `change` throw.
   */
  async update(key: string, change: (now: T | undefined) => T | undefined): Promise<void> {
    // What is sent while there is no connection is lost with it.
    if (!this.watch.connected) await this.watch.reconnected(RECONNECT_MS);
    for (;;) {
      const entry = await this.bucket.get(key);
      const now = entry ? this.#read(entry)?.value?.value : undefined;
      const next = change(now);
      if (next === undefined && now === undefined) return;
      const revision = await this.#write(key, next, entry?.revision ?? 0);
      if (revision === undefined) continue;
      await this.#reached(revision, READ_YOUR_WRITES_MS);
      return;
    }
  }

  /** Resolves when every change that was made before is seen here, or after `deadlineMs`. Throws what NATS throws. */
  async current(deadlineMs: number): Promise<void> {
    await this.#reached(await this.#lastRevision(), deadlineMs);
  }

  close(): void {
    this.#closed = true;
    this.#offReconnect();
    this.#entries?.stop();
    this.#listeners.clear();
  }

  /** The new revision; undefined when somebody else was faster. */
  async #write(key: string, value: T | undefined, expected: number): Promise<number | undefined> {
    try {
      if (value !== undefined) return await this.bucket.put(key, JSON.stringify(value), { previousSeq: expected });
      await this.bucket.purge(key, { previousSeq: expected });
      return await this.#lastRevision();
    } catch (error) {
      if ((error as { code?: unknown }).code === WRONG_LAST_SEQUENCE) return undefined;
      throw error;
    }
  }

  async #lastRevision(): Promise<number> {
    const { streamInfo } = await this.bucket.status();
    return streamInfo.state.last_seq;
  }

  /** Begins anew with what is there now; until that is all here, readers see what was there before. */
  async #follow(): Promise<void> {
    const held = new Map<string, Held<T>>();
    const { streamInfo } = await this.bucket.status();
    const { last_seq: end, messages } = streamInfo.state;
    const entries = await this.bucket.watch({});
    this.#entries = entries;
    if (this.#closed) entries.stop(); // while it was being made
    await new Promise<void>((resolve, reject) => {
      let initial = true;
      const seen = (revision: number): void => {
        if (initial && revision >= end) {
          initial = false;
          this.#replace(held);
          resolve();
        }
        if (!initial) this.#advance(revision);
      };
      if (messages === 0) seen(end);
      const take = (entry: KvWatchEntry): void => {
        const change = this.#read(entry);
        if (change && initial) this.#hold(held, entry.key, change.value);
        else if (change) this.#apply(entry.key, change.value);
        seen(entry.revision);
      };
      void consume(entries, take).then(() => {
        if (initial) {
          reject(new JournalUnavailableError(`the watch of bucket ${this.options.name} ended too soon`, 'notWritten'));
        } else void this.#followAgain();
      });
    });
  }

  async #followAgain(): Promise<void> {
    while (!this.#closed && !this.nc.isClosed()) {
      try {
        return await this.#follow();
      } catch {
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS).unref());
      }
    }
  }

  /** Undefined: of no concern. */
  #read(entry: KvEntry): { value: Held<T> | undefined } | undefined {
    if (this.options.holds?.(entry.key) === false) return undefined;
    if (entry.operation !== 'PUT') return { value: undefined };
    try {
      return { value: { value: this.options.decode(entry.json()), revision: entry.revision } };
    } catch (error) {
      this.options.onUnreadable?.(entry.key, error);
      return { value: undefined };
    }
  }

  #hold(held: Map<string, Held<T>>, key: string, value: Held<T> | undefined): void {
    if (value) held.set(key, value);
    else held.delete(key);
  }

  #replace(next: Map<string, Held<T>>): void {
    const before = this.#held;
    this.#held = next;
    for (const key of before.keys()) if (!next.has(key)) this.#tell(key);
    for (const [key, { revision }] of next) if (before.get(key)?.revision !== revision) this.#tell(key);
  }

  #apply(key: string, value: Held<T> | undefined): void {
    this.#hold(this.#held, key, value);
    this.#tell(key);
  }

  #tell(key: string): void {
    for (const listener of [...this.#listeners]) listener(key, this.get(key));
  }

  #advance(revision: number): void {
    this.#position = Math.max(this.#position, revision);
    this.#waiters.reached(this.#position);
  }

  /** Resolves when the time is over as well: what is held is as old as it was. */
  async #reached(revision: number, deadlineMs: number): Promise<void> {
    if (this.#position >= revision) return;
    await this.#waiters.add(revision, deadlineMs, () => this.#position).catch(() => undefined);
  }
}

async function consume(entries: QueuedIterator<KvWatchEntry>, take: (entry: KvWatchEntry) => void): Promise<void> {
  try {
    for await (const entry of entries) take(entry);
  } catch {
    // the connection says why; the watch is made anew
  }
}
