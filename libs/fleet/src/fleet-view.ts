import type { GroupHistoryEntry, GroupSummary, Host, HostRecord, Microvm, MicrovmRecord } from '#protocol';
import type { MicrovmFilter } from './fleet-index';
import type { LiveView } from './replay/live-view';

/** One change of the fleet, as told to listeners in order of sequence. */
export type FleetChange =
  | { kind: 'microvm'; sequence: number; microvm: Microvm; record: MicrovmRecord }
  | { kind: 'host'; sequence: number; host: Host; record: HostRecord }
  /** The record as readers see it: a spec may hold secrets. */
  | { kind: 'group'; sequence: number; group: GroupSummary; record: GroupHistoryEntry };

/**
 * The fleet folded from its histories, in memory: what a reader sees. Every process that needs it folds it for itself
 * from the same records, so it can be thrown away and rebuilt.
 */
export interface FleetView extends LiveView {
  /** Deleted microVMs are kept out of lists but found by id while their tombstone is in memory. */
  microvm(id: string): Microvm | undefined;
  list(filter: MicrovmFilter): { items: Microvm[]; nextCursor: string | null };
  /** Living microVMs by state. */
  countByState(): Record<string, number>;
  host(id: string): Host | undefined;
  hosts(): Host[];
  /** Deleted ones included. */
  group(id: string): GroupSummary | undefined;
  /** Those that are not deleted, by id. */
  groups(): GroupSummary[];
  /** Tells every later change; returns the way to stop. */
  onChange(listener: (change: FleetChange) => void): () => void;
  /** Resolves when the view holds the microVM record of this sequence (read your writes); rejects after the deadline. */
  waitForMicrovmSequence(sequence: number, deadlineMs: number): Promise<void>;
  /** Resolves with the first view of this microVM that satisfies the predicate, undefined when the deadline passes or `signal` fires before. */
  waitForMicrovm(
    id: string,
    satisfied: (microvm: Microvm) => boolean,
    deadlineMs: number,
    signal?: AbortSignal,
  ): Promise<Microvm | undefined>;
  /** Sequence of the last microVM record folded in. */
  readonly position: number;
  close(): void;
}
