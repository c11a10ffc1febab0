import type { NatsConnection } from 'nats';
import type { Follower, Journal, JournalEntry } from '#journal';
import {
  IllegalHistoryError,
  foldGroupRecord,
  foldHostRecord,
  foldMicrovmRecord,
  groupHistoryEntry,
  summariseGroup,
  viewHost,
  viewMicrovm,
  type GroupLife,
  type HostLife,
} from '#lifecycle';
import type { GroupRecord, GroupSummary, Host, HostRecord, Microvm, MicrovmRecord, ViewKind } from '#protocol';
import { FleetIndex, type MicrovmFilter } from './fleet-index';
import type { FleetChange, FleetView } from './fleet-view';
import { inOrderAfter, livingGroups, type AnyLife } from './replay/live-view';
import { openGroupJournal, openHostJournal, openMicrovmJournal, type OnUnreadable } from './journals';

export interface FleetViewOptions {
  /** Called when the view can no longer be trusted (a history was lost). The process should end. */
  onFailure: (error: Error) => void;
  /** Called for what is skipped: a message that is no record, or a record that the machine would not have written. */
  onSkipped: (subject: string, sequence: number, error: unknown) => void;
}

/** Opens a view and resolves when it has folded everything that was on record at the time of the call. */
export async function openFleetView(nc: NatsConnection, options: FleetViewOptions): Promise<FleetView> {
  const onUnreadable: OnUnreadable = ({ subject, sequence, error }) => options.onSkipped(subject, sequence, error);
  const [microvms, hosts, groups] = await Promise.all([
    openMicrovmJournal(nc, onUnreadable),
    openHostJournal(nc, onUnreadable),
    openGroupJournal(nc, onUnreadable),
  ]);
  const view = new FoldedFleetView({ microvms, hosts, groups }, options);
  await view.caughtUp;
  return view;
}

class FoldedFleetView implements FleetView {
  readonly #index = new FleetIndex();
  readonly #hosts = new Map<string, HostLife>();
  readonly #groups = new Map<string, GroupLife>();
  readonly #listeners = new Set<(change: FleetChange) => void>();
  readonly #waiters = new Map<string, Set<(microvm: Microvm) => void>>();
  readonly #followers: Readonly<Record<ViewKind, Follower>>;
  readonly caughtUp: Promise<unknown>;

  constructor(
    journals: { microvms: Journal<MicrovmRecord>; hosts: Journal<HostRecord>; groups: Journal<GroupRecord> },
    private readonly options: FleetViewOptions,
  ) {
    const follow = <R>(journal: Journal<R>, fold: (entry: JournalEntry<R>) => void): Follower =>
      journal.follow({
        onRecord: (entry) => this.#skipIllegal(entry, () => fold(entry)),
        onFailure: options.onFailure,
      });
    this.#followers = {
      microvm: follow(journals.microvms, (entry) => this.#foldMicrovm(entry)),
      host: follow(journals.hosts, (entry) => this.#foldHost(entry)),
      group: follow(journals.groups, (entry) => this.#foldGroup(entry)),
    };
    this.caughtUp = Promise.all(Object.values(this.#followers).map(({ caughtUp }) => caughtUp));
  }

  get position(): number {
    return this.positionOf('microvm');
  }

  positionOf(kind: ViewKind): number {
    return this.#followers[kind].position;
  }

  livesAfter(kind: ViewKind, cursor: string | undefined): Iterable<AnyLife> {
    if (kind === 'microvm') return this.#index.livesAfter(cursor);
    if (kind === 'host') return inOrderAfter(this.#hosts.values(), cursor);
    return inOrderAfter(livingGroups(this.#groups.values()), cursor);
  }

  microvm(id: string): Microvm | undefined {
    const life = this.#index.get(id);
    return life && viewMicrovm(life);
  }

  list(filter: MicrovmFilter): { items: Microvm[]; nextCursor: string | null } {
    return this.#index.list(filter);
  }

  countByState(): Record<string, number> {
    return this.#index.countByState();
  }

  host(id: string): Host | undefined {
    const life = this.#hosts.get(id);
    return life && viewHost(life);
  }

  hosts(): Host[] {
    return [...this.#hosts.values()].map(viewHost).sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  group(id: string): GroupSummary | undefined {
    const life = this.#groups.get(id);
    return life && summariseGroup(life);
  }

  groups(): GroupSummary[] {
    return inOrderAfter(livingGroups(this.#groups.values())).map(summariseGroup);
  }

  onChange(listener: (change: FleetChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  waitForMicrovmSequence(sequence: number, deadlineMs: number): Promise<void> {
    return this.#followers.microvm.waitFor(sequence, deadlineMs);
  }

  waitForMicrovm(
    id: string,
    satisfied: (microvm: Microvm) => boolean,
    deadlineMs: number,
    signal?: AbortSignal,
  ): Promise<Microvm | undefined> {
    const now = this.microvm(id);
    if (now && satisfied(now)) return Promise.resolve(now);
    if (signal?.aborted) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      const waiters = this.#waiters.get(id) ?? new Set();
      this.#waiters.set(id, waiters);
      const done = (microvm: Microvm | undefined): void => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', giveUp);
        waiters.delete(look);
        if (waiters.size === 0) this.#waiters.delete(id);
        resolve(microvm);
      };
      const look = (microvm: Microvm): void => {
        if (satisfied(microvm)) done(microvm);
      };
      const giveUp = (): void => done(undefined);
      const timer = setTimeout(giveUp, deadlineMs);
      signal?.addEventListener('abort', giveUp, { once: true });
      waiters.add(look);
    });
  }

  close(): void {
    for (const follower of Object.values(this.#followers)) follower.close();
  }

  #skipIllegal({ subject, sequence }: JournalEntry<unknown>, fold: () => void): void {
    try {
      fold();
    } catch (error) {
      if (!(error instanceof IllegalHistoryError)) throw error;
      this.options.onSkipped(subject, sequence, error);
    }
  }

  #foldMicrovm({ record, sequence }: JournalEntry<MicrovmRecord>): void {
    const life = foldMicrovmRecord(this.#index.get(record.microvmId) ?? null, record, sequence);
    this.#index.set(life);
    const waiters = this.#waiters.get(life.id);
    if (this.#listeners.size === 0 && !waiters) return;
    const microvm = viewMicrovm(life);
    for (const listener of this.#listeners) listener({ kind: 'microvm', sequence, microvm, record });
    if (waiters) for (const look of [...waiters]) look(microvm);
  }

  #foldHost({ record, sequence }: JournalEntry<HostRecord>): void {
    const life = foldHostRecord(this.#hosts.get(record.hostId) ?? null, record, sequence);
    this.#hosts.set(life.id, life);
    if (this.#listeners.size === 0) return;
    const host = viewHost(life);
    for (const listener of this.#listeners) listener({ kind: 'host', sequence, host, record });
  }

  #foldGroup({ record, sequence }: JournalEntry<GroupRecord>): void {
    const life = foldGroupRecord(this.#groups.get(record.groupId) ?? null, record, sequence);
    this.#groups.set(life.id, life);
    if (this.#listeners.size === 0) return;
    const change = {
      kind: 'group',
      sequence,
      group: summariseGroup(life),
      record: groupHistoryEntry(record, sequence),
    } as const;
    for (const listener of this.#listeners) listener(change);
  }
}
