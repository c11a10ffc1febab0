import type { Journal } from '#journal';
import type { Receipt, ReceiptMessage } from '#protocol';
import { HostTable } from '#scheduling';
import { applyStep } from './placement-steps';
import { receiptPlace } from './receipt-id';
import { receiptOf, VERDICTS_MOST } from './receipt-of';

/** Reads receipts: does the steps of a chain again up to a decision, and explains it on the hosts as they were then. */
export class ReceiptReader {
  constructor(private readonly journal: Pick<Journal<ReceiptMessage>, 'recordAt'>) {}

  /**
   * Receipts by their ids, in their order; those that are not stored any more are left out. As many hosts as fit into one answer
   * are told of, the newest receipt first.
   */
  async read(ids: readonly string[]): Promise<Receipt[]> {
    const receipts: Receipt[] = [];
    let hosts = VERDICTS_MOST;
    for (const id of [...ids].reverse()) {
      const receipt = await this.#readOne(id, hosts);
      if (!receipt) continue;
      hosts -= receipt.hosts.length;
      receipts.push(receipt);
    }
    return receipts.reverse();
  }

  async #readOne(id: string, hosts: number): Promise<Receipt | undefined> {
    const place = receiptPlace(id);
    const chain = place && (await this.#chainUpTo(place.sequence));
    if (!chain) return undefined;
    const table = new HostTable();
    const last = chain.pop()!;
    for (const { steps } of chain) for (const step of steps) applyStep(table, step);
    for (const step of last.steps.slice(0, place.step)) applyStep(table, step);
    const decision = last.steps[place.step];
    if (decision?.do !== 'decide') return undefined;
    return receiptOf(id, decision, table, { hosts, scheduler: last.scheduler });
  }

  /** From the beginning of its chain. Undefined: a part of it is not stored any more. */
  async #chainUpTo(sequence: number): Promise<ReceiptMessage[] | undefined> {
    const chain: ReceiptMessage[] = [];
    for (let at: number | null = sequence; at !== null;) {
      const message: ReceiptMessage | undefined = await this.journal.recordAt(at);
      if (!message) return undefined;
      chain.push(message);
      at = message.previous;
    }
    return chain.reverse();
  }
}
