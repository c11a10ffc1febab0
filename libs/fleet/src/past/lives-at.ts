import type { JournalEntry } from '#journal';
import { IllegalHistoryError } from '#lifecycle';

/** Hosts or groups as they were at an instant, and where folding goes on from there. */
export interface LivesPicture<Life> {
  readonly lives: ReadonlyMap<string, Life>;
  /** As of {@link MicrovmsPicture}. */
  readonly resumeFrom: number;
  readonly counted: number;
}

export interface Folding<Life, Record> {
  idOf: (record: Record) => string;
  fold: (life: Life | null, record: Record, sequence: number) => Life;
}

/** Folds the histories of hosts or groups up to an instant: of each the records up to the first one that happened later. */
export class LivesAt<Life extends { readonly revision: number }, Record extends { readonly at: number }> {
  readonly #lives: Map<string, Life>;
  readonly #closed = new Set<string>();
  #counted: number;
  #resumeFrom: number | undefined;

  constructor(
    readonly at: number,
    private readonly folding: Folding<Life, Record>,
    base?: LivesPicture<Life>,
  ) {
    this.#lives = new Map(base?.lives);
    this.#counted = base?.counted ?? 0;
  }

  /** Takes the next record of the stream. One that no fold takes is left out. */
  take({ record, sequence }: Pick<JournalEntry<Record>, 'record' | 'sequence'>): void {
    const id = this.folding.idOf(record);
    const life = this.#lives.get(id) ?? null;
    if (life && sequence <= life.revision) return;
    if (record.at > this.at || this.#closed.has(id)) {
      this.#closed.add(id);
      this.#resumeFrom ??= sequence;
      return;
    }
    this.#counted++;
    try {
      this.#lives.set(id, this.folding.fold(life, record, sequence));
    } catch (error) {
      if (!(error instanceof IllegalHistoryError)) throw error;
    }
  }

  finish(position: number): LivesPicture<Life> {
    return { lives: this.#lives, resumeFrom: this.#resumeFrom ?? position + 1, counted: this.#counted };
  }
}
