import { onAbort } from '#concurrency';
import type { FleetView } from '#fleet';
import { HistoryLostError, type JournalEntry } from '#journal';
import { groupHistoryEntry } from '#lifecycle';
import type { GroupRecord, MicrovmRecord, ViewKind } from '#protocol';
import type { TenantView } from '../tenancy/tenant-view';
import { frameOf, seenChange, type ChangeLog, type HistoricChange, type LoggedChange } from './change-log';
import type { HistoryPages } from './history-pages';
import { formatPosition, type Position } from './position';

/** What a stream writes to: the raw response, or anything that pushes back like one. */
export interface Outlet {
  /** Whether its client has gone: `close` is over then, or on its way. */
  readonly destroyed: boolean;
  /** False: enough for now, wait for `drain`. */
  write(text: string): boolean;
  end(text?: string): void;
  destroy(): void;
  on(event: 'drain' | 'close', listener: () => void): unknown;
  off(event: 'drain' | 'close', listener: () => void): unknown;
}

export interface EventStreamOptions {
  /** The client's last position; absent: from now on. */
  from?: Position | undefined;
  /** Only this microVM. */
  microvmId?: string | undefined;
  /** Only this group. */
  groupId?: string | undefined;
  /** How often a quiet stream says that it is alive, in ms. */
  heartbeatMs: number;
  /** How long a client may take to read what fills its buffer, in ms. */
  stallMs: number;
  /** A tenant's: only its own microVMs and groups, as it sees them, and no hosts. */
  view?: TenantView | undefined;
  /** Whose a microVM is that is not in memory any more; null: nobody knows. Asked for a tenant only. */
  ownerOf?: (microvmId: string) => Promise<string | null>;
  /** Ends the stream politely. */
  shutdown: AbortSignal;
  /** Ends it because the client's token has ended. */
  tokenEnd?: AbortSignal | undefined;
}

/** closed: the client left. slow: it did not read and was cut off. shutdown: we are leaving. token: its token has ended. */
export type StreamEnd = 'closed' | 'slow' | 'shutdown' | 'token';

const PAGE = 256;
/** How long to wait for a position that another gateway has seen before us, in ms. */
const AHEAD_MS = 2_000;
/** After this, in ms, a client that lost us should try again. */
const RETRY_MS = 1_000;

/**
 * One client's server-sent events. It holds a position and nothing else: what the client missed is read back from the
 * histories page by page, then the log of changes is followed, always at the client's pace. Whoever does not read is cut off
 * and may come back with its last event id.
 */
export class EventStream {
  readonly #position: Position;
  #ended: StreamEnd | undefined;
  #wake: () => void = () => undefined;
  #blocked = false;

  constructor(
    private readonly out: Outlet,
    private readonly fleet: FleetView,
    private readonly log: ChangeLog,
    private readonly history: HistoryPages,
    private readonly options: EventStreamOptions,
  ) {
    this.#position = { ...(options.from ?? log.head) };
  }

  /** Resolves when the stream has ended; never rejects for what a client does. */
  async run(): Promise<StreamEnd> {
    const { heartbeatMs, shutdown, tokenEnd } = this.options;
    const onClose = (): void => this.#end('closed');
    const onDrain = (): void => {
      this.#blocked = false;
      this.#wake();
    };
    this.out.on('close', onClose);
    if (this.out.destroyed) onClose();
    this.out.on('drain', onDrain);
    const offShutdown = onAbort(shutdown, () => this.#end('shutdown'));
    const offTokenEnd = tokenEnd && onAbort(tokenEnd, () => this.#end('token'));
    const offGrowth = this.log.onGrowth(() => this.#wake());
    const heartbeat = setInterval(() => this.#heartbeat(), heartbeatMs);
    heartbeat.unref();
    try {
      if (!this.out.destroyed) this.#blocked = !this.out.write(`retry: ${RETRY_MS}\n${this.#idLine()}`);
      await this.#checkPosition();
      while (!this.#ended) {
        await this.#replay();
        await this.#follow();
      }
      return this.#ended;
    } finally {
      clearInterval(heartbeat);
      offGrowth();
      offShutdown();
      offTokenEnd?.();
      this.out.off('close', onClose);
      this.out.off('drain', onDrain);
      if (this.#ended === 'shutdown') this.out.end(': the gateway is shutting down\n\n');
      else if (this.#ended === 'token') this.out.end(': the token has ended\n\n');
      else this.out.destroy();
    }
  }

  #end(reason: StreamEnd): void {
    this.#ended ??= reason;
    this.#wake();
  }

  /** An id without data moves the client's last event id and is not shown to it. */
  #idLine(): string {
    return `id: ${formatPosition(this.#position)}\n\n`;
  }

  #heartbeat(): void {
    if (this.#blocked || this.#ended) return;
    this.#blocked = !this.out.write(`: alive\n${this.#idLine()}`);
  }

  /** A position beyond ours comes from a gateway that is ahead, or from a fleet that is gone. */
  async #checkPosition(): Promise<void> {
    const at = this.#position;
    at.host = Math.min(at.host, this.log.head.host);
    at.group = Math.min(at.group, this.log.head.group);
    if (at.microvm <= this.log.head.microvm) return;
    try {
      await this.fleet.waitForMicrovmSequence(at.microvm, AHEAD_MS);
    } catch {
      await this.#reset('the last event id is ahead of the histories; read everything anew');
    }
  }

  async #reset(reason: string): Promise<void> {
    Object.assign(this.#position, this.log.head);
    await this.#write(`id: ${formatPosition(this.#position)}\nevent: reset\ndata: ${JSON.stringify({ reason })}\n\n`);
  }

  /** Reads from the histories until the log of changes has the rest. */
  async #replay(): Promise<void> {
    const { microvmId, groupId } = this.options;
    const at = this.#position;
    const { history } = this;
    try {
      while (!this.#ended && !this.log.covers(at)) {
        await this.#replayPage(
          'microvm',
          (after) => history.microvms(after, PAGE, microvmId),
          (sequence, record) => this.#replayedMicrovm(sequence, record),
        );
        await this.#replayPage(
          'host',
          (after) => history.hosts(after, PAGE),
          (sequence, record) => ({ kind: 'host', sequence, host: this.fleet.host(record.hostId) ?? null, record }),
        );
        await this.#replayPage(
          'group',
          (after) => history.groups(after, PAGE, groupId),
          (sequence, record) => this.#replayedGroup(sequence, record),
        );
      }
    } catch (error) {
      if (!(error instanceof HistoryLostError)) throw error;
      await this.#reset('the histories do not hold what the last event id speaks of; read everything anew');
    }
  }

  /**
   * Reads one page of the histories of a kind and tells of it; not beyond what the view has seen, so that what is told with a record is
   * never older than the record. `seen`: a record as the client sees it; undefined: not at all.
   */
  async #replayPage<R>(
    kind: ViewKind,
    read: (after: number) => Promise<JournalEntry<R>[]>,
    seen: (sequence: number, record: R) => HistoricChange | undefined | Promise<HistoricChange | undefined>,
  ): Promise<void> {
    const at = this.#position;
    const head = this.log.head[kind];
    if (this.#ended || at[kind] >= head) return;
    const page = this.#tells(kind) ? await read(at[kind]) : [];
    for (const { sequence, record } of page) {
      if (sequence > head || this.#ended) break;
      at[kind] = sequence;
      const change = await seen(sequence, record);
      if (change) await this.#write(frameOf(change, at));
    }
    if (page.length < PAGE) at[kind] = Math.max(at[kind], head);
  }

  async #replayedMicrovm(sequence: number, record: MicrovmRecord): Promise<HistoricChange | undefined> {
    const { view, ownerOf } = this.options;
    const microvm = this.fleet.microvm(record.microvmId) ?? null;
    const change = { kind: 'microvm', sequence, microvm, record } as const;
    if (!view) return change;
    const owner = microvm?.tenant ?? (await ownerOf?.(record.microvmId));
    return owner === view.tenant ? seenChange(change, view) : undefined;
  }

  #replayedGroup(sequence: number, record: GroupRecord): HistoricChange | undefined {
    const { view } = this.options;
    const group = this.fleet.group(record.groupId);
    // Not in the view: its history is damaged.
    if (!group || (view && group.tenant !== view.tenant)) return undefined;
    const change = { kind: 'group', sequence, group, record: groupHistoryEntry(record, sequence) } as const;
    return view ? seenChange(change, view) : change;
  }

  /** Follows the log until the stream ends, or its place in the log is gone. */
  async #follow(): Promise<void> {
    const at = this.#position;
    if (!this.log.covers(at)) return;
    let next = this.log.first;
    while (!this.#ended) {
      if (next < this.log.first) return; // changes came faster than this process got to write: back to the histories
      if (next === this.log.end) {
        await this.#woken();
        continue;
      }
      const change = this.log.at(next++);
      if (change.sequence <= at[change.kind]) continue;
      at[change.kind] = change.sequence;
      if (!this.#wanted(change)) continue;
      const { view } = this.options;
      const frame = view ? change.frameFor(view) : change.frame;
      if (frame === undefined) continue;
      await this.#write(frame);
      // A client that let its place in the log go while it did not read is too slow; it is not worth reading histories for.
      if (this.#ended === undefined && this.#waitedForClient && next < this.log.first) this.#end('slow');
    }
  }

  /** Whether the latest write had to wait for the client. */
  #waitedForClient = false;

  /** Whether anything of this kind concerns the client. */
  #tells(kind: ViewKind): boolean {
    const { microvmId, groupId, view } = this.options;
    if (microvmId !== undefined) return kind === 'microvm';
    if (groupId !== undefined) return kind === 'group';
    return kind !== 'host' || view === undefined;
  }

  #wanted({ kind, subjectId }: LoggedChange): boolean {
    const { microvmId, groupId } = this.options;
    return this.#tells(kind) && subjectId === (microvmId ?? groupId ?? subjectId);
  }

  /** Writes and, when that is enough for now, waits until the client has read; cuts it off when it does not. */
  async #write(text: string): Promise<void> {
    this.#waitedForClient = this.#blocked;
    if (this.#blocked) await this.#drained();
    if (this.#ended) return;
    this.#blocked = !this.out.write(text);
    if (!this.#blocked) return;
    this.#waitedForClient = true;
    await this.#drained();
  }

  async #drained(): Promise<void> {
    const stalled = setTimeout(() => this.#end('slow'), this.options.stallMs);
    while (this.#blocked && !this.#ended) await this.#woken();
    clearTimeout(stalled);
  }

  #woken(): Promise<void> {
    if (this.#ended) return Promise.resolve();
    return new Promise((resolve) => (this.#wake = resolve));
  }
}
