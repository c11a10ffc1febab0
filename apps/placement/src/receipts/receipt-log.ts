import type { Logger } from 'pino';
import type { Journal } from '#journal';
import { receiptsBy, type PlacementStep, type ReceiptMessage } from '#protocol';
import { SCHEDULER_VERSION } from '#scheduling';
import type { HostBook } from '../hosts/host-book';
import type { DecideStep } from './placement-steps';
import { receiptId } from './receipt-id';

/** A message to be: what it will hold, and who waits for it to be durable. */
interface Draft {
  /** Begins a chain: its steps begin with every host. */
  begins: boolean;
  steps: PlacementStep[];
  bytes: number;
  waiting: { step: number; stored: (id: string) => void; failed: (error: unknown) => void }[];
}

/** Messages are kept well below what NATS takes, which is 1 MiB. */
const MESSAGE_BYTES = 512 * 1024;
/** A receipt is read from the beginning of its chain, so chains are short; a beginning holds all hosts, so not too short. */
const CHAIN_MESSAGES = 64;

/**
 * Stores decisions by group commit: while one message is on its way to the disk, the next decisions gather in the next one. What
 * has become known of hosts in between goes before them, so that every decision can be explained from what is stored.
 */
export class ReceiptLog {
  readonly #drafts: Draft[] = [];
  #appending = false;
  /** Sequence of the last message. */
  #previous: number | null = null;
  /** Messages of the chain so far. */
  #chainLength = Infinity;
  #messages = 0;

  constructor(
    private readonly journal: Pick<Journal<ReceiptMessage>, 'append'>,
    private readonly book: HostBook,
    /** Names this process among those that decide. */
    private readonly instance: string,
    private readonly logger: Logger,
  ) {}

  /** Takes down what is known of hosts: to be called right before a decision is made on them. */
  catchUp(): void {
    const open = this.#drafts.at(-1);
    const longEnough = !open && this.#chainLength >= CHAIN_MESSAGES;
    if (longEnough || this.book.membersChanged) {
      this.#open(true);
      this.#push(this.book.takeAll());
    } else {
      if (!open) this.#open(false);
      this.#push(this.book.takeChanges());
    }
  }

  /** Stores a decision. Resolves with the receipt's id when it is durable. @throws what the journal throws */
  append(step: DecideStep): Promise<string> {
    this.#push([step]);
    const draft = this.#drafts.at(-1)!;
    return new Promise((stored, failed) => {
      draft.waiting.push({ step: draft.steps.length - 1, stored, failed });
      if (!this.#appending) void this.#appendAll();
    });
  }

  #open(begins: boolean): void {
    this.#drafts.push({ begins, steps: [], bytes: 0, waiting: [] });
    this.#chainLength = begins ? 1 : this.#chainLength + 1;
  }

  #push(steps: readonly PlacementStep[]): void {
    for (const step of steps) {
      const bytes = JSON.stringify(step).length;
      if (this.#drafts.at(-1)!.bytes + bytes > MESSAGE_BYTES) this.#open(false);
      const draft = this.#drafts.at(-1)!;
      draft.steps.push(step);
      draft.bytes += bytes;
    }
  }

  async #appendAll(): Promise<void> {
    this.#appending = true;
    // Everything that arrived in this turn of the event loop goes into one message.
    await new Promise(setImmediate);
    for (let draft = this.#drafts.shift(); draft; draft = this.#drafts.shift()) await this.#appendOne(draft);
    this.#appending = false;
  }

  async #appendOne({ begins, steps, waiting }: Draft): Promise<void> {
    const message: ReceiptMessage = { scheduler: SCHEDULER_VERSION, previous: begins ? null : this.#previous, steps };
    try {
      const { sequence } = await this.journal.append(receiptsBy(this.instance), message, {
        commandId: `${this.instance}.${++this.#messages}`,
        expectedSequence: 'any',
      });
      this.#previous = sequence;
      for (const { step, stored } of waiting) stored(receiptId(sequence, step));
    } catch (error) {
      this.#giveUp(waiting, error);
    }
  }

  /** What was gathered meanwhile builds on a message that is not there. Nobody was told of those decisions: they are made again. */
  #giveUp(waiting: Draft['waiting'], error: unknown): void {
    const lost = [...waiting, ...this.#drafts.flatMap((draft) => draft.waiting)];
    this.#drafts.length = 0;
    this.#chainLength = Infinity;
    this.logger.error({ err: error, decisions: lost.length }, 'receipts could not be stored');
    for (const { failed } of lost) failed(error);
  }
}
