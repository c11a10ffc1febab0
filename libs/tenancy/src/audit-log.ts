import { randomUUID } from 'node:crypto';
import type { NatsConnection } from 'nats';
import { Journal, wallClockMs } from '#journal';
import { auditOf, type AuditBatch, type AuditEntry } from '#protocol';
import { openAuditJournal } from './audit-journal';

/** An entry as its writer gives it; what is missing is filled in. */
export type AuditNote = Pick<AuditEntry, 'event'> & Partial<Omit<AuditEntry, 'event' | 'service'>>;

export interface AuditLogOptions {
  /** Name of the service that writes. */
  service: string;
  /** Told how many entries were given up since it was told last, and why. */
  onDropped: (count: number, reason: string) => void;
  /** Most entries that wait to be written; beyond, new ones are given up. */
  most?: number;
}

const MOST = 10_000;
/** Entries of one message. */
const BATCH = 200;
/** How long entries gather before they are written, in ms. */
const GATHER_MS = 50;
const WRITE_MS = 5_000;
const RETRY_MS = 500;

/**
 * Writes down who did or tried what. Never in the way of what it writes about: entries wait in memory, bounded, and are written in
 * batches; what finds no room, or could not be written before the end, is counted and told.
 */
export class AuditLog {
  readonly #waiting: AuditEntry[] = [];
  readonly #most: number;
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> | undefined;
  /** On their way. */
  #sent = 0;
  #closing = false;
  /** Given up since it was last told. */
  #dropped = 0;

  private constructor(
    private readonly journal: Journal<AuditBatch>,
    private readonly options: AuditLogOptions,
  ) {
    this.#most = options.most ?? MOST;
  }

  /** @throws StreamConfigError, JournalUnavailableError */
  static async open(nc: NatsConnection, options: AuditLogOptions): Promise<AuditLog> {
    return new AuditLog(await openAuditJournal(nc), options);
  }

  /** Entries that are not written yet. */
  get waiting(): number {
    return this.#waiting.length + this.#sent;
  }

  /** Notes it and returns at once. */
  record(note: AuditNote): void {
    if (this.#closing || this.waiting >= this.#most) {
      this.#dropped++; // told with the next attempt to write
      return;
    }
    const { service } = this.options;
    this.#waiting.push({ at: wallClockMs(), service, tokenId: null, name: null, role: null, tenant: null, ...note });
    this.#gather();
  }

  #gather(): void {
    this.#timer ??= setTimeout(() => void this.#write(), GATHER_MS);
  }

  /** Writes what waits, for at most `deadlineMs`; what is left then is given up. */
  async close(deadlineMs = 2_000): Promise<void> {
    this.#closing = true;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, deadlineMs)));
    await Promise.race([this.#writeAll(), late]);
    clearTimeout(timer);
    clearTimeout(this.#timer);
    this.#dropped += this.#waiting.splice(0).length + this.#sent;
    this.#sent = 0;
    this.#tellDropped('the process ended before they were written');
  }

  async #writeAll(): Promise<void> {
    await this.#writing;
    while (this.#waiting.length > 0 && (await this.#writeOnce())) continue;
  }

  async #write(): Promise<void> {
    this.#writing = (async () => {
      while (this.#waiting.length > 0 && !this.#closing) {
        const written = await this.#writeOnce();
        this.#tellDropped('the audit stream does not keep up');
        if (!written) await new Promise((resolve) => setTimeout(resolve, RETRY_MS).unref());
      }
    })();
    await this.#writing;
    this.#timer = undefined;
    // What has come in since the last look.
    if (this.#waiting.length > 0 && !this.#closing) this.#gather();
  }

  /** Writes the first of what waits, one message per tenant. False: not all could be written; what could not waits on. */
  async #writeOnce(): Promise<boolean> {
    const batch = this.#waiting.splice(0, BATCH);
    this.#sent = batch.length;
    const bySubject = new Map<string, AuditEntry[]>();
    for (const entry of batch) {
      const subject = auditOf(entry.tenant);
      bySubject.set(subject, [...(bySubject.get(subject) ?? []), entry]);
    }
    const failed = await Promise.all(
      [...bySubject].map(async ([subject, entries]) => {
        const options = { commandId: randomUUID(), expectedSequence: 'any', deadlineMs: WRITE_MS } as const;
        return this.journal.append(subject, { entries }, options).then(
          () => [],
          () => entries,
        );
      }),
    );
    this.#sent = 0;
    const again = failed.flat();
    this.#waiting.unshift(...again);
    return again.length === 0;
  }

  #tellDropped(reason: string): void {
    if (this.#dropped > 0) this.options.onDropped(this.#dropped, reason);
    this.#dropped = 0;
  }
}
