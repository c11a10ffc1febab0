import type { Logger } from 'pino';
import type { Journal } from '#journal';
import { receiptsBy, type PlacementStep, type ReceiptMessage } from '#protocol';
import { SCHEDULER_VERSION } from '#scheduling';
import type { HostBook } from '../hosts/host-book';
import type { DecideStep } from './placement-steps';
import { receiptId } from './receipt-id';

/** A message to be: what it will hold, and who waits for it to be durable. */
interface Draft {
  /** Sequence of the message that it goes on from, null at the very beginning; undefined: the message before it. */
  previous?: number | null;
  steps: PlacementStep[];
  bytes: number;
  waiting: { step: number; stored: (id: string) => void; failed: (error: unknown) => void }[];
}

/** The beginning of the next chain, stored part by part while the present chain goes on. */
interface Beginning {
  /** Sequence of its last part. */
  previous: number | null;
  /** Hosts that no stored part holds yet. */
  hostIds: string[];
  bytes: number;
}

export interface ReceiptLogOptions {
  /** Hosts in one part of a beginning; default 32: a millisecond's work. */
  partHosts?: number;
}

/** Messages are kept well below what NATS takes, which is 1 MiB. */
const MESSAGE_BYTES = 512 * 1024;
/**
 * A receipt is read from the beginning of its chain, so the next chain is begun after so many messages, or when what was added to a
 * beginning is so many times that.
 */
const CHAIN_MESSAGES = 1_024;
const CHAIN_GROWTH = 2;

/**
 * Stores decisions by group commit: while one message is on its way to the disk, the next decisions gather in the next one. What
 * has become known of hosts in between goes before them, so that every decision can be explained from what is stored.
 *
 * All hosts at once are half a megabyte with a thousand of them, which nobody should have to wait for. So the beginning of the next chain
 * is stored in parts, one after each message of the present chain; the first message that goes on from it begins with what has changed
 * since the parts were taken.
 */
export class ReceiptLog {
  readonly #drafts: Draft[] = [];
  #appending = false;
  /** Sequence of the last message. */
  #previous: number | null = null;
  /** Of the chain so far. */
  #chain = { messages: Infinity, beginningBytes: 0, addedBytes: 0 };
  #next: Beginning | undefined;
  #messages = 0;

  constructor(
    private readonly journal: Pick<Journal<ReceiptMessage>, 'append'>,
    private readonly book: HostBook,
    /** Names this process among those that decide. */
    private readonly instance: string,
    private readonly logger: Logger,
    private readonly options: ReceiptLogOptions = {},
  ) {}

  /** Takes down what is known of hosts: to be called right before a decision is made on them. */
  catchUp(): void {
    if (this.book.membersChanged || this.#chain.messages === Infinity) return this.#begin();
    if (this.#drafts.length > 0) return this.#push(this.book.takeChanges());
    if (this.#next?.hostIds.length === 0) return this.#goOver(this.#next);
    this.#open();
    this.#push(this.book.takeChanges());
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

  /** A chain that nothing was prepared for: what is here of the hosts goes before the decision, all of it. */
  #begin(): void {
    this.#next = undefined;
    this.#chain = { messages: 0, beginningBytes: 0, addedBytes: 0 };
    this.#open(null);
    this.#push(this.book.takeAll());
    this.#chain = { ...this.#chain, beginningBytes: this.#chain.addedBytes, addedBytes: 0 };
  }

  /** Goes on from the beginning that was prepared. */
  #goOver({ previous, bytes }: Beginning): void {
    this.#next = undefined;
    this.#chain = { messages: 0, beginningBytes: bytes, addedBytes: 0 };
    this.#open(previous);
    this.#push(this.book.takeMarked());
  }

  #open(previous?: number | null): void {
    this.#drafts.push({ ...(previous === undefined ? {} : { previous }), steps: [], bytes: 0, waiting: [] });
    this.#chain.messages++;
  }

  #push(steps: readonly PlacementStep[]): void {
    for (const step of steps) {
      const bytes = JSON.stringify(step).length;
      if (this.#drafts.at(-1)!.bytes + bytes > MESSAGE_BYTES) this.#open();
      const draft = this.#drafts.at(-1)!;
      draft.steps.push(step);
      draft.bytes += bytes;
      this.#chain.addedBytes += bytes;
    }
  }

  async #appendAll(): Promise<void> {
    this.#appending = true;
    // Everything that arrived in this turn of the event loop goes into one message.
    await new Promise(setImmediate);
    for (let draft = this.#drafts.shift(); draft; draft = this.#drafts.shift()) {
      await this.#appendOne(draft);
      await this.#prepareNext();
    }
    this.#appending = false;
  }

  async #appendOne({ previous = this.#previous, steps, waiting }: Draft): Promise<void> {
    try {
      this.#previous = await this.#store({ scheduler: SCHEDULER_VERSION, previous, steps });
      for (const { step, stored } of waiting) stored(receiptId(this.#previous, step));
    } catch (error) {
      this.#giveUp(waiting, error);
    }
  }

  /** Stores the next part of the next chain's beginning, if it is time for one. */
  async #prepareNext(): Promise<void> {
    const { messages, beginningBytes, addedBytes } = this.#chain;
    const longEnough = messages >= CHAIN_MESSAGES || addedBytes > CHAIN_GROWTH * beginningBytes;
    if (!this.#next && longEnough && messages !== Infinity) {
      this.#next = { previous: null, hostIds: this.book.mark(), bytes: 0 };
    }
    const next = this.#next;
    if (!next || next.hostIds.length === 0 || this.book.membersChanged) return;
    const partHosts = this.options.partHosts ?? 32;
    const steps = this.book.take(next.hostIds.slice(0, partHosts));
    try {
      next.previous = await this.#store({ scheduler: SCHEDULER_VERSION, previous: next.previous, steps });
      next.bytes += JSON.stringify(steps).length;
      next.hostIds.splice(0, partHosts);
    } catch (error) {
      // Nobody waits for it: it is begun anew.
      this.logger.warn({ err: error }, 'the beginning of a chain of receipts could not be stored');
      if (this.#next === next) this.#next = undefined;
    }
  }

  async #store(message: ReceiptMessage): Promise<number> {
    const { sequence } = await this.journal.append(receiptsBy(this.instance), message, {
      commandId: `${this.instance}.${++this.#messages}`,
      expectedSequence: 'any',
    });
    return sequence;
  }

  /** What was gathered meanwhile builds on a message that is not there. Nobody was told of those decisions: they are made again. */
  #giveUp(waiting: Draft['waiting'], error: unknown): void {
    const lost = [...waiting, ...this.#drafts.flatMap((draft) => draft.waiting)];
    this.#drafts.length = 0;
    this.#chain.messages = Infinity;
    this.logger.error({ err: error, decisions: lost.length }, 'receipts could not be stored');
    for (const { failed } of lost) failed(error);
  }
}
