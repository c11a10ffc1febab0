import type { JournalEntry } from '#journal';
import { foldMicrovmRecord, IllegalHistoryError, type MicrovmLife } from '#lifecycle';
import { ZodError } from 'zod';
import { microvmRecordOf } from '../journals';
import { Breath } from './breath';
import type { StoredMicrovmRecord } from './stored-record';

/** What folding the histories up to an instant has given, and where folding goes on from it. */
export interface MicrovmsPicture {
  /** Living then. */
  readonly lives: ReadonlyMap<string, MicrovmLife>;
  /** Deleted by then, the latest of them; only when asked for. */
  readonly ended: readonly MicrovmLife[];
  /** Every record before this sequence counts in; of those from it on, those up to the revision of their life. */
  readonly resumeFrom: number;
  /** Those of which also the end lies behind `resumeFrom`, so that their records come again. */
  readonly endedBehind: ReadonlySet<string>;
  /** Records by then, of whomever. */
  readonly counted: number;
  /** Records that no fold takes. */
  readonly skipped: number;
}

export interface MicrovmsAtOptions {
  /** A picture of an earlier instant to go on from. */
  base?: MicrovmsPicture | undefined;
  /** Keep so many of those that are deleted. */
  keepEnded?: number | undefined;
  /** Told of every microVM that is deleted by then and was not in the base. */
  onCameAndWent?: ((id: string) => void) | undefined;
}

/** How many records may wait to be folded. Then the oldest microVM's are, which is likely to live on. */
const MOST_WAITING = 50_000;

type Entry = Pick<JournalEntry<StoredMicrovmRecord>, 'record' | 'sequence'>;

interface Waiting {
  /** What was folded already. */
  life: MicrovmLife | null;
  entries: Entry[];
}

/**
 * The microVMs as they were at an instant: of each history the records up to the first one that happened later. So the picture
 * agrees with what the history of each microVM shows, also where the clocks of two controllers differ.
 *
 * Folding a record costs twenty times as much as reading it, and most microVMs of a long history are gone. So records wait until it is
 * known whether their microVM lived at the instant, and those of the others are never folded.
 */
export class MicrovmsAt {
  readonly #lives: Map<string, MicrovmLife>;
  readonly #waiting = new Map<string, Waiting>();
  readonly #ended = new Map<string, Waiting>();
  /** Their next record happened after the instant. */
  readonly #closed = new Set<string>();
  readonly #endedBehind = new Set<string>();
  #waitingRecords = 0;
  #counted: number;
  #skipped = 0;
  #resumeFrom: number | undefined;

  constructor(
    readonly at: number,
    private readonly options: MicrovmsAtOptions = {},
  ) {
    this.#lives = new Map(options.base?.lives);
    this.#counted = options.base?.counted ?? 0;
  }

  /** Takes the next record of the stream. */
  take({ record, sequence }: Entry): void {
    const id = record.microvmId;
    const life = this.#lives.get(id);
    if ((life && sequence <= life.revision) || this.options.base?.endedBehind.has(id)) return;
    const known = life !== undefined || this.#waiting.has(id);
    if (record.at > this.at || this.#closed.has(id)) {
      if (known) this.#closed.add(id);
      this.#resumeFrom ??= sequence;
      return;
    }
    if (!known && record.from !== null) return this.#takeFragment(record, sequence);
    this.#counted++;
    this.#add(id, record, sequence);
    if (record.to === 'deleted') this.#end(id);
  }

  /** Folds what still waits. To be called once, when every record that may count was taken; `position`: the last one looked at. */
  async finish(position: number): Promise<MicrovmsPicture> {
    const breath = new Breath();
    for (const id of this.#waiting.keys()) {
      this.#fold(id);
      await breath.take();
    }
    const ended: MicrovmLife[] = [];
    for (const waiting of this.#ended.values()) {
      const life = this.#foldAll(waiting);
      if (life) ended.push(life);
      await breath.take();
    }
    return {
      lives: this.#lives,
      ended,
      resumeFrom: this.#resumeFrom ?? position + 1,
      endedBehind: this.#endedBehind,
      counted: this.#counted,
      skipped: this.#skipped,
    };
  }

  /** A history that does not begin with a birth: its beginning was compacted, or happened after the instant. */
  #takeFragment(record: StoredMicrovmRecord, sequence: number): void {
    if (record.to !== 'deleted') return;
    this.#counted++;
    this.#ends(record.microvmId, { life: null, entries: [{ record, sequence }] });
  }

  #add(id: string, record: StoredMicrovmRecord, sequence: number): void {
    const waiting = this.#waiting.get(id);
    if (waiting) waiting.entries.push({ record, sequence });
    else this.#waiting.set(id, { life: this.#lives.get(id) ?? null, entries: [{ record, sequence }] });
    this.#waitingRecords++;
    while (this.#waitingRecords > MOST_WAITING) this.#fold(this.#waiting.keys().next().value!);
  }

  #end(id: string): void {
    const waiting = this.#waiting.get(id) ?? { life: this.#lives.get(id) ?? null, entries: [] };
    this.#waitingRecords -= waiting.entries.length;
    this.#waiting.delete(id);
    this.#lives.delete(id);
    this.#ends(id, waiting);
    if (!this.options.base?.lives.has(id)) this.options.onCameAndWent?.(id);
  }

  #ends(id: string, waiting: Waiting): void {
    if (this.#resumeFrom !== undefined) this.#endedBehind.add(id);
    const { keepEnded = 0 } = this.options;
    if (keepEnded === 0) return;
    this.#ended.set(id, waiting);
    if (this.#ended.size > keepEnded) this.#ended.delete(this.#ended.keys().next().value!);
  }

  #fold(id: string): void {
    const waiting = this.#waiting.get(id)!;
    this.#waiting.delete(id);
    this.#waitingRecords -= waiting.entries.length;
    const life = this.#foldAll(waiting);
    if (life) this.#lives.set(id, life);
  }

  /** A record that no fold takes is left out, as every live view leaves it out. */
  #foldAll({ life, entries }: Waiting): MicrovmLife | null {
    for (const { record, sequence } of entries) {
      try {
        life = foldMicrovmRecord(life, microvmRecordOf(record), sequence);
      } catch (error) {
        if (!(error instanceof IllegalHistoryError || error instanceof ZodError)) throw error;
        this.#skipped++;
      }
    }
    return life;
  }
}
