import { createHash, type Hash } from 'node:crypto';
import type { BusClient } from '#bus';
import {
  foldGroupRecord,
  foldHostRecord,
  foldMicrovmRecord,
  microvmState,
  type GroupLife,
  type HostLife,
  type MicrovmLife,
} from '#lifecycle';
import {
  announceView,
  groupHistory,
  hostHistory,
  microvmHistory,
  readView,
  type GroupRecord,
  type HostRecord,
  type MicrovmRecord,
  type ReplyOf,
  type ViewKind,
} from '#protocol';
import { openGroupJournal, openHostJournal, openMicrovmJournal } from '../journals';
import { Replay, type Replayed } from './replay';

export interface AuditOptions {
  /** How long processes have to say that they are there, ms. Default 1.5 s. */
  announceMs?: number;
  /** How long the replay may take to reach what a view has folded, ms. Default 30 s. */
  catchUpMs?: number;
  onProgress?: (message: string) => void;
}

/** One thing that a live view and the histories do not agree on. */
export interface Difference {
  readonly instance: string;
  readonly kind: ViewKind;
  readonly id: string;
  readonly live: Replayed | null;
  readonly replayed: Replayed | null;
}

export interface ComparedView {
  readonly instance: string;
  readonly service: string;
  readonly kind: ViewKind;
  /** How many lives were compared. */
  readonly compared: number;
  /** SHA-256 over what the view holds, and over what the replay holds of the same at the same revisions. */
  readonly liveHash: string;
  readonly replayedHash: string;
}

export interface ReplayReport {
  /** Whether every live view is what the histories give, and every history is a path of its machine. */
  readonly ok: boolean;
  readonly records: Record<ViewKind, number>;
  readonly living: Record<ViewKind, number>;
  readonly replayMs: number;
  readonly views: readonly ComparedView[];
  readonly differences: readonly Difference[];
  /** Records that the machine would not have written. */
  readonly illegal: readonly { kind: ViewKind; id: string; sequence: number; message: string }[];
}

const ANNOUNCE_MS = 1_500;
const CATCH_UP_MS = 30_000;

/**
 * Proves that replay equals live (invariant S8): folds every history from its first record on in this process, asks every process that
 * holds them what it has, and compares both by hash, life by life, at equal revisions. The fleet may change meanwhile.
 *
 * @throws OperationError when a view is not answered for; JournalUnavailableError; HistoryLostError.
 */
export async function auditReplay(bus: BusClient, options: AuditOptions = {}): Promise<ReplayReport> {
  const audit = await ReplayAudit.open(bus, options);
  try {
    return await audit.run();
  } finally {
    audit.close();
  }
}

type AnyReplay = Replay<MicrovmLife, MicrovmRecord> | Replay<HostLife, HostRecord> | Replay<GroupLife, GroupRecord>;

interface Journals {
  microvms: Awaited<ReturnType<typeof openMicrovmJournal>>;
  hosts: Awaited<ReturnType<typeof openHostJournal>>;
  groups: Awaited<ReturnType<typeof openGroupJournal>>;
}

class ReplayAudit {
  readonly #illegal: ReplayReport['illegal'][number][] = [];
  readonly #differences: Difference[] = [];
  readonly #replays: Record<ViewKind, AnyReplay>;
  readonly #failure: Promise<never>;

  private constructor(
    private readonly bus: BusClient,
    private readonly options: AuditOptions,
    journals: Journals,
  ) {
    let fail!: (error: Error) => void;
    this.#failure = new Promise((_, reject) => (fail = reject));
    this.#failure.catch(() => undefined);
    const note = (kind: ViewKind) => (id: string, sequence: number, error: Error) =>
      void this.#illegal.push({ kind, id, sequence, message: error.message });
    this.#replays = {
      microvm: new Replay<MicrovmLife, MicrovmRecord>({
        journal: journals.microvms,
        subjectOf: microvmHistory,
        idOf: (record) => record.microvmId,
        fold: foldMicrovmRecord,
        lives: (life) => microvmState(life) !== 'deleted',
        onIllegal: note('microvm'),
        onFailure: fail,
      }),
      host: new Replay<HostLife, HostRecord>({
        journal: journals.hosts,
        subjectOf: hostHistory,
        idOf: (record) => record.hostId,
        fold: foldHostRecord,
        lives: () => true,
        onIllegal: note('host'),
        onFailure: fail,
      }),
      group: new Replay<GroupLife, GroupRecord>({
        journal: journals.groups,
        subjectOf: groupHistory,
        idOf: (record) => record.groupId,
        fold: foldGroupRecord,
        lives: ({ state }) => state !== 'deleted',
        returns: true,
        onIllegal: note('group'),
        onFailure: fail,
      }),
    };
  }

  static async open(bus: BusClient, options: AuditOptions): Promise<ReplayAudit> {
    const nc = bus.connection;
    // What is no record is skipped here as it is by every live view.
    const skip = (): void => undefined;
    const [microvms, hosts, groups] = await Promise.all([
      openMicrovmJournal(nc, skip),
      openHostJournal(nc, skip),
      openGroupJournal(nc, skip),
    ]);
    return new ReplayAudit(bus, options, { microvms, hosts, groups });
  }

  close(): void {
    for (const replay of Object.values(this.#replays)) replay.close();
  }

  async run(): Promise<ReplayReport> {
    const { microvm, host, group } = this.#replays;
    const startedMs = performance.now();
    await this.#orFailure(Promise.all([microvm.caughtUp, host.caughtUp, group.caughtUp]));
    const replayMs = performance.now() - startedMs;
    const records = { microvm: microvm.records, host: host.records, group: group.records };
    const announced = await this.bus.callAll(announceView, {}, this.options.announceMs ?? ANNOUNCE_MS);
    announced.sort((a, b) => (a.instance < b.instance ? -1 : 1));
    const views: ComparedView[] = [];
    for (const { instance, service, kinds } of announced) {
      for (const kind of kinds) {
        this.options.onProgress?.(`comparing the ${kind}s of ${instance}`);
        views.push(await this.#orFailure(this.#compare(instance, service, kind)));
      }
    }
    return {
      ok: this.#differences.length === 0 && this.#illegal.length === 0,
      records,
      living: { microvm: microvm.size, host: host.size, group: group.size },
      replayMs,
      views,
      differences: this.#differences,
      illegal: this.#illegal,
    };
  }

  async #compare(instance: string, service: string, kind: ViewKind): Promise<ComparedView> {
    const replay = this.#replays[kind];
    const live = createHash('sha256');
    const replayed = createHash('sha256');
    const seen = new Set<string>();
    let first: number | undefined;
    for (let cursor: string | null = null; ;) {
      const page: ReplyOf<typeof readView> = await this.bus.call(readView, {
        instance,
        kind,
        ...(cursor === null ? {} : { cursor }),
      });
      first ??= page.position;
      for (const { id, revision, digest } of page.entries) {
        seen.add(id);
        // A view that has folded everything up to its position holds the last record of each life up to there, or a later one.
        const until = Math.max(page.position, revision);
        await replay.reached(until, this.options.catchUpMs ?? CATCH_UP_MS);
        const expected = await replay.asOf(id, until);
        add(live, id, { revision, digest });
        add(replayed, id, expected);
        if (expected?.revision !== revision || expected.digest !== digest) {
          this.#differences.push({ instance, kind, id, live: { revision, digest }, replayed: expected ?? null });
        }
      }
      cursor = page.nextCursor;
      if (cursor === null) {
        await this.#findMissing(instance, kind, seen, first, page.position);
        break;
      }
    }
    return {
      instance,
      service,
      kind,
      compared: seen.size,
      liveHash: live.digest('hex'),
      replayedHash: replayed.digest('hex'),
    };
  }

  /** Whoever lived from the first page to the last must have been on one of them. */
  async #findMissing(instance: string, kind: ViewKind, seen: Set<string>, first: number, last: number): Promise<void> {
    const replay = this.#replays[kind];
    await replay.reached(last, this.options.catchUpMs ?? CATCH_UP_MS);
    for (const id of replay.livingSince(first)) {
      if (seen.has(id)) continue;
      this.#differences.push({ instance, kind, id, live: null, replayed: (await replay.asOf(id, last)) ?? null });
    }
  }

  #orFailure<T>(work: Promise<T>): Promise<T> {
    return Promise.race([work, this.#failure]);
  }
}

function add(hash: Hash, id: string, life: Replayed | undefined): void {
  hash.update(`${id} ${life ? `${life.revision} ${life.digest}` : 'none'}\n`);
}
