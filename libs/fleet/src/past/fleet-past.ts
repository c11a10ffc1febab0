import type { NatsConnection } from 'nats';
import { Pacer } from '#concurrency';
import type { Journal, JournalEntry } from '#journal';
import {
  coresidencyOf,
  foldGroupRecord,
  foldHostRecord,
  viewGroup,
  viewHost,
  viewMicrovm,
  type GroupLife,
  type HostLife,
  type MicrovmLife,
} from '#lifecycle';
import {
  groupHistory,
  hostHistory,
  microvmHistory,
  OperationError,
  type Group,
  type GroupRecord,
  type Host,
  type HostCoresidency,
  type HostRecord,
  type Microvm,
  type Span,
} from '#protocol';
import { openGroupJournal, openHostJournal, openStoredMicrovms, type OnUnreadable } from '../journals';
import { diffPictures, type FleetDiff } from './fleet-diff';
import { FleetPicture } from './fleet-picture';
import { LivesAt, type Folding } from './lives-at';
import { MicrovmsAt, type MicrovmsAtOptions } from './microvms-at';
import { StaysIn } from './stays-in';
import type { StoredMicrovmRecord } from './stored-record';

/**
 * How long after its own time a record may be stored, in ms: reading ends at the first record that was stored later than that after
 * the instant. The journal gives up after ten seconds; a whole day allows for clocks that are far off.
 */
const STORED_WITHIN_MS = 86_400_000;
/** After this the picture of an instant is final: nobody still appends a record of then. */
const SETTLED_AFTER_MS = 15_000;
const READ_DEADLINE_MS = 120_000;

/** Pictures kept to go on from, and how many microVMs they may hold together. */
const KEPT = { pictures: 4, lives: 200_000 } as const;
/** Deleted ones in a picture that is asked for them: as many as live views keep. */
const ENDED = 10_000;
/** Replays at a time, and how many more may wait for their turn. */
const REPLAYS = { atOnce: 1, waiting: 4 } as const;
const MOST_CHANGES = 200_000;

const HOSTS: Folding<HostLife, HostRecord> = { idOf: ({ hostId }) => hostId, fold: foldHostRecord };
const GROUPS: Folding<GroupLife, GroupRecord> = { idOf: ({ groupId }) => groupId, fold: foldGroupRecord };

export interface PastOptions {
  /** Also those that were deleted by then. */
  ended?: boolean;
  /** Gives up reading. */
  signal?: AbortSignal | undefined;
}

/**
 * The fleet as it was: folds the histories up to an instant. Pictures of the latest few instants are kept, so that the pages of one
 * cost one replay, and a later instant is reached from the nearest earlier one: a picture knows from which sequence on records were
 * left out, and of each microVM which record was its last, so going on from it gives the same as beginning anew.
 */
export class FleetPast {
  readonly #pacer = new Pacer(REPLAYS.atOnce);
  /** Final pictures, latest used last. */
  #kept: FleetPicture[] = [];
  #keptDiff: FleetDiff | undefined;

  private constructor(
    private readonly microvms: Journal<StoredMicrovmRecord>,
    private readonly hosts: Journal<HostRecord>,
    private readonly groups: Journal<GroupRecord>,
  ) {}

  static async open(nc: NatsConnection, onUnreadable: OnUnreadable): Promise<FleetPast> {
    return new FleetPast(
      ...(await Promise.all([
        openStoredMicrovms(nc, onUnreadable),
        openHostJournal(nc, onUnreadable),
        openGroupJournal(nc, onUnreadable),
      ])),
    );
  }

  /**
   * The fleet as it was at an instant (ms since 1970).
   *
   * @throws OperationError `invalid` when nothing was on record by then, or it is yet to come; `overloaded` when others wait already;
   * `timeout`.
   */
  async fleetAt(at: number, { ended = false, signal }: PastOptions = {}): Promise<FleetPicture> {
    requirePast(at);
    const kept = ended ? undefined : this.#recall(at);
    if (kept) return kept;
    return this.#inTurn(signal, async () => {
      // Somebody may have asked for the same while we waited.
      const picture = (ended ? undefined : this.#recall(at)) ?? (await this.#replay(at, { ended, signal }));
      if (picture.isBlank) throw await this.#tooEarly(at);
      return picture;
    });
  }

  /** What became of the fleet between two instants, the earlier one first. Throws as {@link fleetAt}, and `refused` when it is too much. */
  async diff(from: number, to: number, signal?: AbortSignal): Promise<FleetDiff> {
    requirePast(from, 'from');
    requirePast(to, 'to');
    if (from > to) throw invalidAt('from', 'must be before `to`');
    const kept = this.#keptDiff;
    if (kept?.from.at === from && kept.to.at === to) return kept;
    return this.#inTurn(signal, async () => {
      const first = this.#recall(from) ?? (await this.#replay(from, { signal }));
      if (first.isBlank) throw await this.#tooEarly(from, 'from');
      const cameAndWent: string[] = [];
      const second = await this.#replay(to, {
        signal,
        base: first,
        onCameAndWent: (id) => {
          if (cameAndWent.push(id) > MOST_CHANGES) throw tooMuch();
        },
      });
      const diff = diffPictures(first, second, cameAndWent);
      if (diff.changes.length > MOST_CHANGES) throw tooMuch();
      if (isSettled(to)) this.#keptDiff = diff;
      return diff;
    });
  }

  /**
   * Who shared a host with a tenant between two instants. `unknown`: how many microVMs lived in that time of which retention has left
   * nothing but the end, so that nobody knows where they were. Throws as {@link diff}.
   */
  async coresidency(
    tenant: string,
    window: Span,
    signal?: AbortSignal,
  ): Promise<{ hosts: HostCoresidency[]; unknown: number }> {
    requirePast(window.from, 'from');
    requirePast(window.to, 'to');
    if (window.from >= window.to) throw invalidAt('from', 'must be before `to`');
    return this.#inTurn(signal, async () => {
      const stays = new StaysIn(window);
      await this.microvms.scan({
        deadlineMs: READ_DEADLINE_MS,
        signal,
        onRecord: ({ record, timeMs }) => {
          if (timeMs > window.to + STORED_WITHIN_MS) return 'enough';
          stays.take(record);
        },
      });
      return { hosts: coresidencyOf(tenant, stays.all(), window), unknown: stays.unknown };
    });
  }

  /** One microVM as it was at an instant. @throws OperationError `notFound` when it did not exist then; `invalid`. */
  async microvmAt(id: string, at: number): Promise<Microvm> {
    requirePast(at);
    const { entries } = await this.microvms.read(microvmHistory(id));
    const first = entries[0]?.record;
    if (!first) throw new OperationError('notFound', `there is no microVM ${id}, and never was`);
    if (first.at > at) throw notYet(`microVM ${id}`, first.at, first.from !== null);
    const one = new MicrovmsAt(at, { keepEnded: 1 });
    for (const entry of entries) one.take(entry);
    const { lives, ended } = await one.finish(entries.at(-1)!.sequence);
    const life: MicrovmLife | undefined = lives.get(id) ?? ended[0];
    if (!life) throw new OperationError('internal', `the history of microVM ${id} is damaged`);
    return viewMicrovm(life);
  }

  /** One host as it was at an instant. @throws OperationError `notFound` when it was not known then; `invalid`. */
  async hostAt(id: string, at: number): Promise<Host> {
    requirePast(at);
    const { entries } = await this.hosts.read(hostHistory(id));
    const first = entries[0]?.record;
    if (!first) throw new OperationError('notFound', `no host ${id} ever registered; GET /v1/hosts lists them`);
    if (first.at > at) throw notYet(`host ${id}`, first.at, false);
    return viewHost(foldedAt(entries, HOSTS, at)!);
  }

  /** One group as it was at an instant. @throws OperationError `notFound` when it did not exist then; `invalid`. */
  async groupAt(id: string, at: number): Promise<Group> {
    requirePast(at);
    const { entries } = await this.groups.read(groupHistory(id));
    const first = entries[0]?.record;
    if (!first) throw new OperationError('notFound', `there is no group ${id}, and never was`);
    if (first.at > at) throw notYet(`group ${id}`, first.at, false);
    return viewGroup(foldedAt(entries, GROUPS, at)!);
  }

  async #inTurn<T>(signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    if (this.#pacer.waiting >= REPLAYS.waiting) {
      throw new OperationError('overloaded', 'others look into the past at the moment; try again', undefined, 2_000);
    }
    const release = await this.#pacer.acquire(signal);
    try {
      return await work();
    } finally {
      release();
    }
  }

  async #replay(
    at: number,
    options: PastOptions & { base?: FleetPicture; onCameAndWent?: MicrovmsAtOptions['onCameAndWent'] },
  ): Promise<FleetPicture> {
    const base = options.base ?? (options.ended ? undefined : this.#nearest(at));
    const picture = await this.#replayFrom(base, at, options);
    if (!options.ended && !picture.isBlank && isSettled(at)) this.#keep(picture);
    return picture;
  }

  async #replayFrom(
    base: FleetPicture | undefined,
    at: number,
    { ended, signal, onCameAndWent }: PastOptions & { onCameAndWent?: MicrovmsAtOptions['onCameAndWent'] },
  ): Promise<FleetPicture> {
    const microvms = new MicrovmsAt(at, { base: base?.microvms, keepEnded: ended ? ENDED : 0, onCameAndWent });
    const hosts = new LivesAt(at, HOSTS, base?.hostsPicture);
    const groups = new LivesAt(at, GROUPS, base?.groupsPicture);
    const stop = new AbortController();
    const read = <R>(journal: Journal<R>, into: { take(entry: JournalEntry<R>): void }, fromSequence = 1) =>
      journal.scan({
        fromSequence,
        deadlineMs: READ_DEADLINE_MS,
        signal: AbortSignal.any(signal ? [signal, stop.signal] : [stop.signal]),
        onRecord: (entry) => {
          if (entry.timeMs > at + STORED_WITHIN_MS) return 'enough';
          into.take(entry);
        },
      });
    const [microvmsEnd, hostsEnd, groupsEnd] = await Promise.all([
      read(this.microvms, microvms, base?.microvms.resumeFrom),
      read(this.hosts, hosts, base?.hostsPicture.resumeFrom),
      read(this.groups, groups, base?.groupsPicture.resumeFrom),
    ]).catch((error: unknown) => {
      stop.abort(error);
      throw error;
    });
    return new FleetPicture(at, await microvms.finish(microvmsEnd), hosts.finish(hostsEnd), groups.finish(groupsEnd));
  }

  #recall(at: number): FleetPicture | undefined {
    const picture = this.#kept.find((one) => one.at === at);
    if (picture) this.#kept = [...this.#kept.filter((one) => one !== picture), picture];
    return picture;
  }

  #nearest(at: number): FleetPicture | undefined {
    return this.#kept
      .filter((picture) => picture.at <= at)
      .reduce<FleetPicture | undefined>((best, one) => (best && best.at >= one.at ? best : one), undefined);
  }

  #keep(picture: FleetPicture): void {
    this.#kept = [...this.#kept.filter(({ at }) => at !== picture.at), picture].slice(-KEPT.pictures);
    const lives = (): number => this.#kept.reduce((sum, { size }) => sum + size, 0);
    while (this.#kept.length > 1 && lives() > KEPT.lives) this.#kept.shift();
  }

  async #tooEarly(at: number, field = 'at'): Promise<OperationError> {
    const times = await Promise.all([this.microvms.firstTimeMs(), this.hosts.firstTimeMs()]);
    const first = Math.min(...times.map((time) => time ?? Infinity));
    if (first === Infinity) return invalidAt(field, 'is before all history: nothing is on record yet');
    return invalidAt(field, `${iso(at)} is before all history, which begins at ${iso(first)}`);
  }
}

/** Of one history the records up to the first one that happened later; null: none. One that no fold takes is left out. */
function foldedAt<Life extends { readonly revision: number }, Record extends { readonly at: number }>(
  entries: readonly JournalEntry<Record>[],
  folding: Folding<Life, Record>,
  at: number,
): Life | undefined {
  const one = new LivesAt(at, folding);
  for (const entry of entries) one.take(entry);
  return [...one.finish(0).lives.values()][0];
}

function requirePast(at: number, field = 'at'): void {
  const now = Date.now();
  if (at > now) throw invalidAt(field, `${iso(at)} is yet to come: it is ${iso(now)} now`);
}

function isSettled(at: number): boolean {
  return at < Date.now() - SETTLED_AFTER_MS;
}

/** Outside what Date can show, the number itself. */
function iso(at: number): string {
  return Math.abs(at) > 8.64e15 ? String(at) : new Date(at).toISOString();
}

function invalidAt(field: string, message: string): OperationError {
  return new OperationError('invalid', `${field}: ${message}`, [{ path: field, message }]);
}

function notYet(what: string, at: number, compacted: boolean): OperationError {
  return new OperationError(
    'notFound',
    compacted
      ? `what ${what} was before it was deleted at ${iso(at)} is no longer on record`
      : `${what} did not exist yet: its history begins at ${iso(at)}`,
  );
}

function tooMuch(): OperationError {
  return new OperationError(
    'refused',
    `more than ${MOST_CHANGES} microVMs changed; choose instants that are closer together`,
  );
}
