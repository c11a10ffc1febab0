import { randomInt } from 'node:crypto';
import type { Decision } from '#protocol';
import { chooseHost, explainNone, type Demand, type Occasion } from '#scheduling';
import type { HostBook } from '../hosts/host-book';
import type { DecideStep } from '../receipts/placement-steps';
import type { ReceiptLog } from '../receipts/receipt-log';
import type { Asked } from './placement-request';

const SEEDS = 2 ** 32;

/** A decision that has been made; it counts when it is stored. */
export interface Made {
  hostId: string | null;
  /** Only without a host: no host would take it however long it waited. */
  hopeless: boolean;
  /** Rejects when the receipt could not be stored. */
  stored: Promise<Decision>;
}

/** Decides on the hosts as they are known now. */
export class Decider {
  constructor(
    private readonly book: HostBook,
    private readonly log: Pick<ReceiptLog, 'catchUp' | 'append'>,
    /** ms since 1970. */
    private readonly now: () => number,
  ) {}

  occasionOf(demand: Demand): Occasion {
    return { table: this.book.table, demand, at: Math.round(this.now()) };
  }

  /** Chooses a host and takes the placement off it, for `keepMs` or until it is seen there, in one synchronous step: the next decision sees it. */
  decide({ demand, ...asked }: Asked, keepMs?: number): Made {
    this.log.catchUp();
    const occasion = this.occasionOf(demand);
    const { at } = occasion;
    const seed = randomInt(SEEDS - 1);
    const { hostId } = chooseHost(occasion, seed);
    const { reason, hopeless } = hostId === null ? explainNone(occasion) : { reason: '', hopeless: false };
    if (hostId !== null) this.book.place(hostId, asked.microvmId, demand, at, keepMs);
    const step: DecideStep = { do: 'decide', ...asked, at, seed, hostId, demand };
    const stored = this.log.append(step).then((id): Decision => ({ id, hostId, reason, at }));
    return { hostId, hopeless, stored };
  }
}
