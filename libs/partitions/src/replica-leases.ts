import { randomBytes } from 'node:crypto';
import type { KV } from '@nats-io/kv';
import type { NatsConnection } from 'nats';
import type { Logger } from 'pino';
import { z } from 'zod';
import { openKeyValue } from '#journal';

/** What a replica says of itself with every renewal. */
const Lease = z.object({
  /** Tells two processes of one name apart. */
  process: z.string(),
  startedAt: z.number(),
  /** Newest version of the machines that it can fold. */
  machine: z.int(),
});
type Lease = z.infer<typeof Lease>;

export interface Replica {
  readonly id: string;
  readonly machine: number;
}

export interface ReplicaLeasesOptions {
  /** Of the KV bucket. Replicas of one kind share it. */
  bucket: string;
  /** Name of this replica. Stable over restarts, so that a new process takes up at once what the one before it left. */
  id: string;
  machine: number;
  /** A replica that was not heard for this long owns nothing any more, to itself and to the others, ms. */
  leaseMs?: number;
  logger: Logger;
}

const LEASE_MS = 3_000;
const RENEWALS_PER_LEASE = 3;
/** Leftovers of replicas that ended without a word leave the bucket after this many leases. */
const FORGET_AFTER_LEASES = 10;
const WATCH_RETRY_MS = 200;

/**
 * Which replicas are alive, by leases in a NATS KV bucket. Each renews its own; everybody counts by a clock of its own that does
 * not jump, from when it heard of a renewal, and its own from when it sent one: so a replica that was frozen or cut off knows, before it does anything
 * else, that it holds nothing any more. Two may still believe different things for a moment; what makes that harmless is the expected sequence of every append.
 */
export class ReplicaLeases {
  readonly #process = randomBytes(8).toString('hex');
  readonly #startedAt = Date.now();
  readonly #leaseMs: number;
  readonly #heard = new Map<string, { lease: Lease; atMs: number }>();
  readonly #listeners = new Set<() => void>();
  #renewedAtMs = -Infinity;
  #lookedAtMs = performance.now();
  /** When this process noticed that it had been frozen for longer than a lease. */
  #thawedAtMs = -Infinity;
  #known = '';
  #members: readonly Replica[] = [];
  #state: 'new' | 'joined' | 'superseded' | 'left' = 'new';
  #knowsOthers = false;
  #renewing: NodeJS.Timeout | undefined;
  #ticking: NodeJS.Timeout | undefined;
  #stopWatch: (() => void) | undefined;

  private constructor(
    private readonly bucket: KV,
    private readonly options: ReplicaLeasesOptions,
  ) {
    this.#leaseMs = options.leaseMs ?? LEASE_MS;
  }

  static async open(nc: NatsConnection, options: ReplicaLeasesOptions): Promise<ReplicaLeases> {
    const ttlMs = (options.leaseMs ?? LEASE_MS) * FORGET_AFTER_LEASES;
    return new ReplicaLeases(await openKeyValue(nc, { name: options.bucket, ttlMs }), options);
  }

  /** This replica's lease is in force. */
  get holds(): boolean {
    return this.#state === 'joined' && performance.now() - this.#renewedAtMs < this.#leaseMs;
  }

  /**
   * This process was frozen, or its event loop held up, for longer than a lease, and has not renewed it since: what waited for it
   * meanwhile was given up by whoever asked, and has been asked of others.
   */
  get isThawing(): boolean {
    const heldUp = performance.now() - this.#lookedAtMs > this.#leaseMs;
    return this.#state === 'joined' && (heldUp || this.#renewedAtMs < this.#thawedAtMs);
  }

  /** Everybody whose lease is in force, by name; empty while ours is not, for then we do not know. */
  get members(): readonly Replica[] {
    return this.holds ? this.#members : [];
  }

  /** Tells when members came or went, ourselves included. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Takes part from now on. Resolves when the first lease is in force and the others' are known. */
  async join(): Promise<void> {
    if (this.#state !== 'new') throw new Error('a replica joins once');
    this.#state = 'joined';
    void this.#watch();
    this.#renewing = setInterval(() => void this.#renew(), this.#leaseMs / RENEWALS_PER_LEASE);
    this.#ticking = setInterval(() => this.#look(), this.#leaseMs / 12);
    const joined = new Promise<void>((resolve) => {
      const off = this.onChange(() => {
        if (this.#members.length === 0 && this.#state === 'joined') return;
        off();
        resolve();
      });
    });
    void this.#renew();
    await joined;
  }

  /** Gives the lease up, so that the others need not wait for its end. */
  async leave(): Promise<void> {
    if (this.#state === 'left') return;
    const joined = this.#state === 'joined';
    this.#state = 'left';
    clearInterval(this.#renewing);
    clearInterval(this.#ticking);
    this.#stopWatch?.();
    this.#look();
    if (joined) {
      await this.bucket.delete(this.options.id).catch((error: unknown) => {
        this.options.logger.warn({ err: error }, 'the lease was not given up; it ends by itself');
      });
    }
  }

  async #renew(): Promise<void> {
    const sentAtMs = this.#noteTime();
    const lease: Lease = { process: this.#process, startedAt: this.#startedAt, machine: this.options.machine };
    try {
      await this.bucket.put(this.options.id, JSON.stringify(lease));
    } catch (error) {
      this.options.logger.debug({ err: error }, 'the lease was not renewed');
      return;
    }
    if (this.#state !== 'joined') return;
    // It may have run out since the last look. Then whoever asked was told that nothing is ours, and has to be told that it is again.
    this.#look();
    this.#renewedAtMs = Math.max(this.#renewedAtMs, sentAtMs);
    this.#look();
  }

  async #watch(): Promise<void> {
    const { logger } = this.options;
    while (this.#state === 'joined') {
      try {
        const watch = await this.bucket.watch();
        this.#stopWatch = () => watch.stop();
        if (this.#state !== 'joined') return watch.stop();
        for await (const entry of watch) {
          if (entry.operation === 'PUT') this.#hear(entry.key, entry.json());
          else this.#heard.delete(entry.key);
          this.#look();
        }
      } catch (error) {
        logger.warn({ err: error }, 'the leases of the other replicas are not heard; trying again');
      }
      await new Promise((resolve) => setTimeout(resolve, WATCH_RETRY_MS));
    }
  }

  #hear(id: string, said: unknown): void {
    const lease = Lease.safeParse(said);
    if (!lease.success) return this.options.logger.error({ id }, 'an entry among the leases is none; skipped');
    this.#heard.set(id, { lease: lease.data, atMs: performance.now() });
    const { process, startedAt } = lease.data;
    // Entries come in the order of their writing: with our own we know all that were there before us.
    if (process === this.#process) this.#knowsOthers = true;
    if (id !== this.options.id || process === this.#process || this.#state !== 'joined') return;
    if (startedAt < this.#startedAt) return; // what the process before us left
    this.#state = 'superseded';
    clearInterval(this.#renewing);
    this.options.logger.error({ id }, 'another process has taken this name; this one owns nothing any more');
  }

  /** The time, and a note when so much of it has passed since the last look that this process must have been frozen. */
  #noteTime(): number {
    const now = performance.now();
    if (now - this.#lookedAtMs > this.#leaseMs) this.#thawedAtMs = now;
    this.#lookedAtMs = now;
    return now;
  }

  /** Compares who is alive now with who was. */
  #look(): void {
    const now = this.#noteTime();
    const members: Replica[] = [];
    if (this.holds && this.#knowsOthers) {
      members.push({ id: this.options.id, machine: this.options.machine });
      for (const [id, { lease, atMs }] of this.#heard) {
        if (id === this.options.id) continue;
        if (now - atMs < this.#leaseMs) members.push({ id, machine: lease.machine });
      }
      members.sort((a, b) => (a.id < b.id ? -1 : 1));
    }
    const known = JSON.stringify([this.#state, members]);
    if (known === this.#known) return;
    this.#known = known;
    this.#members = members;
    for (const listener of [...this.#listeners]) listener();
  }
}
