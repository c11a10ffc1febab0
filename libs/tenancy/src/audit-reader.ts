import { AckPolicy, DeliverPolicy, jetstream, type JetStreamManager } from '@nats-io/jetstream';
import { nanos, type NatsConnection } from 'nats';
import { wallClockMs } from '#journal';
import { auditOf, AUDIT_STREAM, AuditBatch, OperationError, type AuditEntry, type AuditEvent } from '#protocol';
import { openAuditJournal } from './audit-journal';

export interface AuditQuery {
  /** Only this tenant's; null: only what is no tenant's; absent: all. */
  tenant?: string | null | undefined;
  /** First and last instant, ms since 1970. */
  from: number;
  to?: number | undefined;
  tokenId?: string | undefined;
  event?: AuditEvent | undefined;
  /** Least status. */
  status?: number | undefined;
  /** A value among its `ids`. */
  about?: string | undefined;
  limit: number;
  /** `next` of the page before; then `from` says nothing. */
  cursor?: string | undefined;
}

export interface AuditPage {
  items: AuditEntry[];
  /** Where to go on; null: that was all up to now. */
  next: string | null;
}

/** Messages looked at for one page, so that a filter which little passes does not read the whole stream in one call. */
const MOST_LOOKED_AT = 20_000;
const PULL = 500;
const PULL_MS = 2_000;
/** Entries gather before they are written, and a message is as old as its writing: so much older an entry in it may be, in ms. */
const WRITTEN_LATE_MS = 60_000;

export const CURSOR_PATTERN = /^\d{1,15}\.\d{1,4}$/;

/** Reads the audit back, oldest first. */
export class AuditReader {
  private constructor(
    private readonly nc: NatsConnection,
    private readonly jsm: JetStreamManager,
  ) {}

  /** @throws StreamConfigError, JournalUnavailableError */
  static async open(nc: NatsConnection): Promise<AuditReader> {
    await openAuditJournal(nc);
    return new AuditReader(nc, await jetstream(nc).jetstreamManager());
  }

  /** @throws OperationError `unavailable` */
  async read(query: AuditQuery): Promise<AuditPage> {
    const { name } = AUDIT_STREAM;
    const start = query.cursor?.split('.').map(Number) as [number, number] | undefined;
    let consumer: string | undefined;
    try {
      const info = await this.jsm.consumers.add(name, {
        ack_policy: AckPolicy.None,
        mem_storage: true,
        inactive_threshold: nanos(10_000),
        ...(query.tenant === undefined ? {} : { filter_subject: auditOf(query.tenant) }),
        ...(start
          ? { deliver_policy: DeliverPolicy.StartSequence, opt_start_seq: Math.max(1, start[0]) }
          : { deliver_policy: DeliverPolicy.StartTime, opt_start_time: new Date(query.from).toISOString() }),
      });
      consumer = info.name;
      return await this.#page(query, consumer, info.num_pending, start);
    } catch (error) {
      throw new OperationError('unavailable', `the audit cannot be read: ${(error as Error).message}; try again`);
    } finally {
      if (consumer !== undefined) this.jsm.consumers.delete(name, consumer).catch(() => undefined);
    }
  }

  async #page(query: AuditQuery, name: string, pending: number, start?: [number, number]): Promise<AuditPage> {
    const items: AuditEntry[] = [];
    const consumer = await jetstream(this.nc).consumers.get(AUDIT_STREAM.name, name);
    let left = pending;
    let looked = 0;
    while (left > 0) {
      const messages = await consumer.fetch({ max_messages: Math.min(PULL, left), expires: PULL_MS });
      let came = 0;
      for await (const message of messages) {
        came++;
        looked++;
        left--;
        if (query.to !== undefined && message.time.getTime() > query.to + WRITTEN_LATE_MS) return { items, next: null };
        const { data } = AuditBatch.safeParse(safeJson(message.data));
        const skip = start && message.seq === start[0] ? start[1] : 0;
        for (const [index, entry] of (data?.entries ?? []).entries()) {
          if (index < skip || !matches(entry, query)) continue;
          if (items.length === query.limit) return { items, next: `${message.seq}.${index}` };
          items.push(entry);
        }
        if (looked >= MOST_LOOKED_AT && left > 0) return { items, next: `${message.seq + 1}.0` };
      }
      if (came === 0) throw new Error(`nothing came for ${PULL_MS} ms`);
    }
    return { items, next: null };
  }
}

function matches(entry: AuditEntry, { from, to = wallClockMs(), tokenId, event, status, about }: AuditQuery): boolean {
  if (entry.at < from || entry.at > to) return false;
  if (tokenId !== undefined && entry.tokenId !== tokenId) return false;
  if (event !== undefined && entry.event !== event) return false;
  if (status !== undefined && (entry.status ?? 0) < status) return false;
  return about === undefined || Object.values(entry.ids ?? {}).includes(about);
}

function safeJson(data: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(data));
  } catch {
    return undefined;
  }
}
