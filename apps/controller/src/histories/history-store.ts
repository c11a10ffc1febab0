import { KeyedQueue } from '#concurrency';
import { SequenceConflictError, type Follower, type Journal } from '#journal';
import { IllegalHistoryError } from '#lifecycle';
import { OperationError } from '#protocol';

interface Folded {
  readonly id: string;
  readonly revision: number;
}
interface Recorded {
  readonly commandId: string;
}

/** What a decider answered: a record to append, or any other kind, which is handed through. */
type Accepted<Life, Record> = { kind: 'record'; record: Record; advance: { life: Omit<Life, 'id' | 'revision'> } };
type AnyDecision<Life, Record> = Accepted<Life, Record> | { kind: 'effects' | 'nothing' | 'refused' };

export interface HistoryStoreOptions<Life extends Folded, Record extends Recorded> {
  journal: Journal<Record>;
  subjectOf: (id: string) => string;
  idOf: (record: Record) => string;
  fold: (life: Life | null, record: Record, sequence: number) => Life;
  /** A decided life, once its record has its place in the history. */
  named: (life: Omit<Life, 'id' | 'revision'>, id: string, revision: number) => Life;
  /** Where folded lives are kept. */
  lives: { get(id: string): Life | undefined; set(life: Life): void };
  /** Called for every new life, whoever wrote its record. */
  onChange: (life: Life) => void;
  /** Called once for a history that holds a record the machine would not have written. Nothing is decided on it any more. */
  onDamaged: (id: string, error: IllegalHistoryError) => void;
}

export interface Outcome<Life, Decision> {
  decision: Decision;
  /** The life after it; null when there is none. */
  life: Life | null;
  /** True when the decision's record is new in the history, so that its effects are ours to do. */
  appended: boolean;
}

const MAX_CONFLICTS = 8;
/** How long a record of another writer may take to come to us before its history is read on purpose, ms. */
const FOLLOW_MS = 500;

/**
 * Histories of one kind, folded in memory, with the only way to change them: decide on the folded life, append with the
 * expected sequence, fold. Several processes may do so at once; whoever loses catches up and decides again. What changes nothing is only answered
 * after a look whether memory is current: another writer's record may be on its way.
 */
export class HistoryStore<Life extends Folded, Record extends Recorded> {
  readonly #queue = new KeyedQueue();
  readonly #damaged = new Map<string, string>();
  /** Lives whose records are being appended. */
  readonly #decided = new Map<string, Omit<Life, 'id' | 'revision'>>();
  #follower: Follower | undefined;

  constructor(private readonly options: HistoryStoreOptions<Life, Record>) {}

  /** Folds everything on record, then keeps up with other writers. `onFailure`: the histories can no longer be trusted. */
  async open(onFailure: (error: Error) => void): Promise<void> {
    const { journal, idOf } = this.options;
    this.#follower = journal.follow({
      onFailure,
      // Most are our own.
      isKnown: (subject, sequence) => {
        const life = this.options.lives.get(idIn(subject));
        return life !== undefined && life.revision >= sequence;
      },
      takesOwn: (subject, sequence) => {
        const id = idIn(subject);
        const decided = this.#decided.get(id);
        if (!decided) return false;
        this.#keep(this.options.named(decided, id, sequence));
        return true;
      },
      onRecord: ({ record, sequence }) => {
        const id = idOf(record);
        const life = this.options.lives.get(id);
        if ((life && life.revision >= sequence) || this.#damaged.has(id)) return;
        try {
          this.#keep(this.options.fold(life ?? null, record, sequence));
        } catch (error) {
          this.#noteDamage(id, error);
        }
      },
    });
    await this.#follower.caughtUp;
  }

  close(): void {
    this.#follower?.close();
  }

  /** Every record up to this sequence is folded in. */
  get position(): number {
    return this.#follower?.position ?? 0;
  }

  /** The life of `id`, from memory or else from its history. Null: it was never born. */
  async find(id: string): Promise<Life | null> {
    return this.options.lives.get(id) ?? (await this.#load(id)).life;
  }

  /** The same, with everything that was on record at the time of the call, whoever wrote it. */
  async findCurrent(id: string): Promise<Life | null> {
    const last = await this.options.journal.lastSequenceOf(this.options.subjectOf(id));
    const life = this.options.lives.get(id) ?? null;
    return last <= (life?.revision ?? 0) ? life : (await this.#catchUp(id, last)).life;
  }

  /**
   * Decides about one id; decisions of one id never overlap in this process. Throws what the journal throws. `newborn`: an id
   * not in memory is taken for unborn without reading its history; if that is wrong, the append conflicts and it is read then.
   */
  decide<Decision extends AnyDecision<Life, Record>>(
    id: string,
    decider: (life: Life | null) => Decision,
    newborn = false,
  ): Promise<Outcome<Life, Decision>> {
    return this.#queue.run(id, async () => {
      const damage = this.#damaged.get(id);
      if (damage) throw new OperationError('internal', `the history of ${id} is damaged: ${damage}`);
      let life = newborn ? (this.options.lives.get(id) ?? null) : await this.find(id);
      let expectedSequence = life?.revision ?? 0;
      for (let conflicts = 0; ; conflicts++) {
        const decision = decider(life);
        if (decision.kind === 'refused' || decision.kind === 'nothing') {
          const last = await this.options.journal.lastSequenceOf(this.options.subjectOf(id));
          if (last <= expectedSequence || conflicts >= MAX_CONFLICTS) return { decision, life, appended: false };
          ({ life, lastSequence: expectedSequence } = await this.#catchUp(id, last));
          continue;
        }
        if (decision.kind !== 'record') return { decision, life, appended: false };
        try {
          const { record } = decision;
          this.#decided.set(id, decision.advance.life);
          const { sequence, duplicate } = await this.options.journal.append(this.options.subjectOf(id), record, {
            commandId: record.commandId,
            expectedSequence,
          });
          if (duplicate) return { decision, life: (await this.#catchUp(id, sequence)).life, appended: false };
          const known = this.options.lives.get(id);
          const next =
            known && known.revision >= sequence ? known : this.options.named(decision.advance.life, id, sequence);
          if (next !== known) this.#keep(next);
          return { decision, life: next, appended: true };
        } catch (error) {
          if (!(error instanceof SequenceConflictError) || conflicts >= MAX_CONFLICTS) throw error;
          ({ life, lastSequence: expectedSequence } = await this.#catchUp(id, error.actualSequence));
        } finally {
          this.#decided.delete(id);
        }
      }
    });
  }

  /** The life as of its record `sequence`, which the follower brings, or else the history itself. */
  async #catchUp(id: string, sequence: number | undefined): Promise<{ life: Life | null; lastSequence: number }> {
    if (sequence !== undefined && sequence > 0) {
      await this.#follower?.waitFor(sequence, FOLLOW_MS).catch(() => undefined);
      const life = this.options.lives.get(id);
      if (life && life.revision >= sequence) return { life, lastSequence: life.revision };
    }
    return this.#reload(id);
  }

  async #reload(id: string): Promise<{ life: Life | null; lastSequence: number }> {
    const { life, lastSequence } = await this.#load(id);
    const known = this.options.lives.get(id);
    if (known && life && known.revision >= life.revision) return { life: known, lastSequence };
    if (life) this.#keep(life);
    return { life, lastSequence };
  }

  /** A stray message that is no record counts for the sequence to expect, and for nothing else. */
  async #load(id: string): Promise<{ life: Life | null; lastSequence: number }> {
    const { entries, lastSequence } = await this.options.journal.read(this.options.subjectOf(id));
    try {
      const life = entries.reduce<Life | null>(
        (life, { record, sequence }) => this.options.fold(life, record, sequence),
        null,
      );
      return { life, lastSequence };
    } catch (error) {
      this.#noteDamage(id, error);
      throw new OperationError('internal', `the history of ${id} is damaged: ${String(error)}`);
    }
  }

  /** One damaged history must not stop the others, and nothing may be built on it. */
  #noteDamage(id: string, error: unknown): void {
    if (!(error instanceof IllegalHistoryError)) throw error;
    if (this.#damaged.has(id)) return;
    this.#damaged.set(id, error.message);
    this.options.onDamaged(id, error);
  }

  #keep(life: Life): void {
    this.options.lives.set(life);
    this.options.onChange(life);
  }
}

const idIn = (subject: string): string => subject.slice(subject.lastIndexOf('.') + 1);
