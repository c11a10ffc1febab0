import type { Follower, Journal } from '#journal';
import { IllegalHistoryError } from '#lifecycle';
import { digestOf, type AnyLife } from './live-view';

export interface ReplayOptions<Life extends AnyLife, Record> {
  journal: Journal<Record>;
  subjectOf: (id: string) => string;
  idOf: (record: Record) => string;
  fold: (life: Life | null, record: Record, sequence: number) => Life;
  /** Whether a live view still holds it. */
  lives: (life: Life) => boolean;
  /** Whether a history may go on after its end, so that what it was has to be kept. */
  returns?: boolean;
  onIllegal: (id: string, sequence: number, error: IllegalHistoryError) => void;
  onFailure: (error: Error) => void;
}

/** What a history gives, as of one of its records. */
export interface Replayed {
  readonly revision: number;
  readonly digest: string;
}

/** Folds all histories of one kind from their first record on, by itself, and keeps up with them. */
export class Replay<Life extends AnyLife, Record> {
  readonly #lives = new Map<string, Life>();
  readonly #bornAt = new Map<string, number>();
  readonly #digests = new WeakMap<Life, string>();
  readonly #follower: Follower;
  #records = 0;

  constructor(private readonly options: ReplayOptions<Life, Record>) {
    const { journal, idOf, onIllegal, onFailure } = options;
    this.#follower = journal.follow({
      onFailure,
      onRecord: ({ record, sequence }) => {
        this.#records++;
        const id = idOf(record);
        try {
          this.#keep(options.fold(this.#lives.get(id) ?? null, record, sequence));
        } catch (error) {
          if (!(error instanceof IllegalHistoryError)) throw error;
          onIllegal(id, sequence, error);
        }
      },
    });
  }

  /** Everything is folded that was there when it began. */
  get caughtUp(): Promise<void> {
    return this.#follower.caughtUp;
  }

  get records(): number {
    return this.#records;
  }

  /** How many live. */
  get size(): number {
    return this.#bornAt.size;
  }

  close(): void {
    this.#follower.close();
  }

  /** @throws JournalUnavailableError when it does not get there in time. */
  reached(sequence: number, deadlineMs: number): Promise<void> {
    return this.#follower.waitFor(sequence, deadlineMs);
  }

  /**
   * What the records of `id` up to a sequence give; undefined: there are none, or it does not live. Reads its history when more has
   * happened since. To be asked after {@link reached}.
   */
  async asOf(id: string, sequence: number): Promise<Replayed | undefined> {
    let life = this.#lives.get(id);
    if (!life || life.revision > sequence) life = await this.#foldAlone(id, sequence);
    if (!life || !this.options.lives(life)) return undefined;
    return { revision: life.revision, digest: this.#digestOf(life) };
  }

  /** Ids of those that live now and were born by then. */
  *livingSince(sequence: number): Generator<string> {
    for (const [id, bornAt] of this.#bornAt) if (bornAt <= sequence) yield id;
  }

  #keep(life: Life): void {
    const { lives, returns = false } = this.options;
    if (lives(life)) {
      if (!this.#bornAt.has(life.id)) this.#bornAt.set(life.id, life.revision);
      this.#lives.set(life.id, life);
      return;
    }
    this.#bornAt.delete(life.id);
    if (returns) this.#lives.set(life.id, life);
    else this.#lives.delete(life.id);
  }

  async #foldAlone(id: string, until: number): Promise<Life | undefined> {
    const { entries } = await this.options.journal.read(this.options.subjectOf(id));
    let life: Life | null = null;
    for (const { record, sequence } of entries) {
      if (sequence > until) break;
      try {
        life = this.options.fold(life, record, sequence);
      } catch (error) {
        if (!(error instanceof IllegalHistoryError)) throw error; // told when it was folded with the others
      }
    }
    return life ?? undefined;
  }

  #digestOf(life: Life): string {
    let digest = this.#digests.get(life);
    if (digest === undefined) this.#digests.set(life, (digest = digestOf(life)));
    return digest;
  }
}
