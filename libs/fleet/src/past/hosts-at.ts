import type { JournalEntry } from '#journal';
import { foldHostRecord, IllegalHistoryError, type HostLife } from '#lifecycle';
import type { HostRecord } from '#protocol';

/** The hosts as they were at an instant, and where folding goes on from there. */
export interface HostsPicture {
  readonly lives: ReadonlyMap<string, HostLife>;
  /** As of {@link MicrovmsPicture}. */
  readonly resumeFrom: number;
  readonly counted: number;
}

/** Folds the histories of hosts up to an instant: of each the records up to the first one that happened later. */
export class HostsAt {
  readonly #lives: Map<string, HostLife>;
  readonly #closed = new Set<string>();
  #counted: number;
  #resumeFrom: number | undefined;

  constructor(
    readonly at: number,
    base?: HostsPicture,
  ) {
    this.#lives = new Map(base?.lives);
    this.#counted = base?.counted ?? 0;
  }

  /** Takes the next record of the stream. One that no fold takes is left out. */
  take({ record, sequence }: Pick<JournalEntry<HostRecord>, 'record' | 'sequence'>): void {
    const { hostId } = record;
    const life = this.#lives.get(hostId) ?? null;
    if (life && sequence <= life.revision) return;
    if (record.at > this.at || this.#closed.has(hostId)) {
      this.#closed.add(hostId);
      this.#resumeFrom ??= sequence;
      return;
    }
    this.#counted++;
    try {
      this.#lives.set(hostId, foldHostRecord(life, record, sequence));
    } catch (error) {
      if (!(error instanceof IllegalHistoryError)) throw error;
    }
  }

  finish(position: number): HostsPicture {
    return { lives: this.#lives, resumeFrom: this.#resumeFrom ?? position + 1, counted: this.#counted };
  }
}
