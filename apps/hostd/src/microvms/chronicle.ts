import { OperationError } from '#protocol';
import { JournalWriteError, type HostJournal, type Means } from '../journal/host-journal';
import type { Answer, HostRecord, OutboxActs, OutboxFact } from '../journal/host-record';
import type { HostState } from '../journal/host-state';

/** Refusals that could not be written down and are remembered, at most; the oldest go first. */
const UNWRITTEN_MAX = 1_000;

export type Entry = Omit<HostRecord, 'at'>;

/** The journal as the agent uses it, with the two ways in which a record that cannot be written is taken. */
export class Chronicle {
  #tell: (facts: readonly (OutboxFact | OutboxActs)[]) => void = () => undefined;
  #over = false;
  readonly #unwritten = new Map<string, Answer>();

  constructor(
    private readonly journal: Pick<HostJournal, 'append' | 'state' | 'noRoom'>,
    /** The agent cannot go on: what happened can no longer be written down. It is to end and to start afresh. */
    private readonly fatal: (error: Error) => void,
  ) {}

  get state(): HostState {
    return this.journal.state;
  }

  /** Why nothing new may be begun, when that is the disk's fault. */
  get noRoom(): string | undefined {
    return this.journal.noRoom;
  }

  /** Whoever tells facts to the controller. */
  onFacts(tell: (facts: readonly (OutboxFact | OutboxActs)[]) => void): void {
    this.#tell = tell;
  }

  /** From now on outcomes are left for the next agent to find out. */
  end(): void {
    this.#over = true;
  }

  /**
   * Writes down a command with its answer, before anything is done about it. Without a command id the answer is not kept. Nothing
   * that is begun may take the reserve from what has begun already: `means` is `room` then.
   *
   * @throws OperationError `unavailable` when it cannot be written; nothing was done then.
   */
  accept(commandId: string | undefined, answer: Answer, entry: Entry = {}, means?: Means): Answer {
    if (this.#over) throw new OperationError('unavailable', 'this host agent is shutting down; ask again in a moment');
    try {
      this.journal.append(commandId === undefined ? entry : { ...entry, answer: { commandId, ...answer } }, means);
    } catch (error) {
      if (!(error instanceof JournalWriteError)) throw error;
      throw new OperationError('unavailable', `this host takes no orders: ${error.message}`);
    }
    if (entry.facts) this.#tell(entry.facts);
    return answer;
  }

  /**
   * Refuses a start for want of room. Where not even that can be written it is remembered: asked again, this agent says the same;
   * and nothing was begun that a later one could find.
   */
  refuseForRoom(commandId: string, reason: string): Answer {
    const answer: Answer = { accepted: false, reason };
    try {
      return this.accept(commandId, answer, {}, 'room');
    } catch (error) {
      if (this.#over) throw error;
      this.#unwritten.set(commandId, answer);
      const [oldest] = this.#unwritten.keys();
      if (this.#unwritten.size > UNWRITTEN_MAX) this.#unwritten.delete(oldest!);
      return answer;
    }
  }

  /** The answer of {@link refuseForRoom} to this command, where it is only remembered. */
  unwritten(commandId: string): Answer | undefined {
    return this.#unwritten.get(commandId);
  }

  /**
   * Writes down what happened. Returns false when it could not: then the agent is ending, and the next one finds out by looking
   * at the host.
   */
  record(entry: Entry): boolean {
    if (this.#over) return false;
    try {
      this.journal.append(entry);
    } catch (error) {
      this.#over = true;
      this.fatal(error as Error);
      return false;
    }
    if (entry.facts) this.#tell(entry.facts);
    if (entry.guardActs) this.#tell([entry.guardActs]);
    return true;
  }
}
