import type { NatsConnection } from 'nats';
import type { Follower, Journal, JournalEntry } from '#journal';
import {
  IllegalHistoryError,
  foldHostRecord,
  foldMicrovmRecord,
  viewHost,
  viewMicrovm,
  type HostLife,
} from '#lifecycle';
import type { Host, HostRecord, Microvm, MicrovmRecord, ViewKind } from '#protocol';
import { FleetIndex, type MicrovmFilter } from './fleet-index';
import type { FleetChange, FleetView } from './fleet-view';
import { hostsAfter, type AnyLife } from './replay/live-view';
import { openHostJournal, openMicrovmJournal, type OnUnreadable } from './journals';

export interface FleetViewOptions {
  /** Called when the view can no longer be trusted (a history was lost). The process should end. */
  onFailure: (error: Error) => void;
  /** Called for what is skipped: a message that is no record, or a record that the machine would not have written. */
  onSkipped: (subject: string, sequence: number, error: unknown) => void;
}

/** Opens a view and resolves when it has folded everything that was on record at the time of the call. */
export async function openFleetView(nc: NatsConnection, options: FleetViewOptions): Promise<FleetView> {
  const onUnreadable: OnUnreadable = ({ subject, sequence, error }) => options.onSkipped(subject, sequence, error);
  const [microvms, hosts] = await Promise.all([
    openMicrovmJournal(nc, onUnreadable),
    openHostJournal(nc, onUnreadable),
  ]);
  const view = new FoldedFleetView(microvms, hosts, options);
  await view.caughtUp;
  return view;
}

class FoldedFleetView implements FleetView {
  readonly #index = new FleetIndex();
  readonly #hosts = new Map<string, HostLife>();
  readonly #listeners = new Set<(change: FleetChange) => void>();
  readonly #waiters = new Map<string, Set<(microvm: Microvm) => void>>();
  readonly #microvmFollower: Follower;
  readonly #hostFollower: Follower;
  readonly caughtUp: Promise<unknown>;

  constructor(
    microvms: Journal<MicrovmRecord>,
    hosts: Journal<HostRecord>,
    private readonly options: FleetViewOptions,
  ) {
    const { onFailure } = options;
    this.#microvmFollower = microvms.follow({
      onRecord: (entry) => this.#skipIllegal(entry, () => this.#foldMicrovm(entry)),
      onFailure,
    });
    this.#hostFollower = hosts.follow({
      onRecord: (entry) => this.#skipIllegal(entry, () => this.#foldHost(entry)),
      onFailure,
    });
    this.caughtUp = Promise.all([this.#microvmFollower.caughtUp, this.#hostFollower.caughtUp]);
  }

  get position(): number {
    return this.#microvmFollower.position;
  }

  positionOf(kind: ViewKind): number {
    return (kind === 'microvm' ? this.#microvmFollower : this.#hostFollower).position;
  }

  livesAfter(kind: ViewKind, cursor: string | undefined): Iterable<AnyLife> {
    return kind === 'microvm' ? this.#index.livesAfter(cursor) : hostsAfter(this.#hosts.values(), cursor);
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

  onChange(listener: (change: FleetChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  waitForMicrovmSequence(sequence: number, deadlineMs: number): Promise<void> {
    return this.#microvmFollower.waitFor(sequence, deadlineMs);
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
    this.#microvmFollower.close();
    this.#hostFollower.close();
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
}
