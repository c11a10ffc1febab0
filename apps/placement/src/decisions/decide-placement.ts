import { Inject, Injectable, type OnModuleDestroy, type OnModuleInit } from '@nestjs/common';
import { randomUUID } from 'node:crypto';
import type { NatsConnection } from 'nats';
import type { Logger } from 'pino';
import { BusClient, LOGGER, NATS } from '#bus';
import { openReceiptJournal } from '#fleet';
import { systemClock, wallClockMs } from '#journal';
import {
  PLACEMENT_WITHDRAWALS,
  PlacementWithdrawal,
  type Decision,
  type placeMicrovm,
  type PlacementAnswer,
  type ReplyOf,
} from '#protocol';
import { HostWatch } from '../hosts/host-watch';
import { ReceiptLog } from '../receipts/receipt-log';
import { CapacityQueue } from './capacity-queue';
import { Decider, type Made } from './decider';
import { askedIn, type Asked, type PlaceRequest } from './placement-request';

type Reply = ReplyOf<typeof placeMicrovm>;

/** Repeated questions get the first answer; this covers retries of an effect. */
const REMEMBERED = 65_536;

/** Chooses hosts. A decision counts once its receipt is stored. Any number of these may run: hosts have the last word. */
@Injectable()
export class DecidePlacement implements OnModuleInit, OnModuleDestroy {
  readonly #decided = new Map<string, Promise<Decision>>();
  #decider!: Decider;
  #queue!: CapacityQueue;

  constructor(
    private readonly hosts: HostWatch,
    private readonly bus: BusClient,
    @Inject(NATS) private readonly nats: NatsConnection,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  async onModuleInit(): Promise<void> {
    const journal = await openReceiptJournal(this.nats, ({ subject, sequence, error }) =>
      this.logger.error({ subject, sequence, err: error }, 'a message among the receipts is none; skipped'),
    );
    const log = new ReceiptLog(journal, this.hosts.book, randomUUID(), this.logger);
    this.#decider = new Decider(this.hosts.book, log, wallClockMs);
    this.#queue = new CapacityQueue(this.#decider, systemClock);
    this.hosts.onNews((hostId) => this.#queue.offer(hostId));
    this.bus.subscribe(PLACEMENT_WITHDRAWALS, (withdrawal: PlacementWithdrawal) => void this.#withdraw(withdrawal), {
      schema: PlacementWithdrawal,
    });
  }

  onModuleDestroy(): void {
    this.#queue.stop();
  }

  async execute(request: PlaceRequest): Promise<Reply> {
    const { decisionId, waitUntil = 0 } = request;
    const known = this.#decided.get(decisionId);
    if (known) return { receipt: await known, waiting: false };
    const waiting = this.#queue.askedAgain(decisionId);
    if (waiting) return { receipt: await waiting.first, waiting: true };

    const asked = askedIn(request);
    const mayWait = waitUntil > wallClockMs();
    if (mayWait && this.#queue.hasLineOf(asked.demand.tenant)) {
      const reason = 'waits its turn behind others of its tenant, whom no host can take yet';
      return this.#wait(request, asked, Promise.resolve({ id: '', hostId: null, reason, at: wallClockMs() }));
    }
    const made = this.#decider.decide(asked, request.keepMs);
    if (made.hostId === null && mayWait && !made.hopeless) return this.#wait(request, asked, made.stored);
    return { receipt: await this.#remember(decisionId, made), waiting: false };
  }

  /** It leaves its line; or what was decided already, perhaps while this was on its way, no longer counts. */
  async #withdraw({ decisionId, microvmId }: PlacementWithdrawal): Promise<void> {
    if (this.#queue.withdraw(decisionId)) return;
    const decision = await this.#decided.get(decisionId)?.catch(() => undefined);
    if (decision?.hostId) this.hosts.book.withdraw(decision.hostId, microvmId);
  }

  async #wait(
    { decisionId, waitUntil, answerTo }: PlaceRequest,
    asked: Asked,
    first: Promise<Decision>,
  ): Promise<Reply> {
    const decided = (made: Made): void => {
      this.#remember(decisionId, made).then(
        (receipt) => {
          const answer: PlacementAnswer = { decisionId, receipt };
          if (answerTo !== undefined && !this.bus.connection.isClosed()) this.bus.publish(answerTo, answer);
        },
        () => undefined, // whoever waits asks again, and it is decided anew
      );
    };
    this.#queue.add(decisionId, { asked, waitUntil: waitUntil!, first, decided });
    return { receipt: await first, waiting: true };
  }

  #remember(decisionId: string, { stored }: Made): Promise<Decision> {
    this.#decided.set(decisionId, stored);
    if (this.#decided.size > REMEMBERED) this.#decided.delete(this.#decided.keys().next().value!);
    stored.catch(() => this.#decided.delete(decisionId));
    return stored;
  }
}
