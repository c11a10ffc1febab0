import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import { randomInt } from 'node:crypto';
import type { NatsConnection } from 'nats';
import type { Logger } from 'pino';
import { LOGGER, NATS } from '#bus';
import { openReceiptJournal } from '#fleet';
import { wallClockMs, type Journal } from '#journal';
import { findImage, receipts, wantedDevices, type placeMicrovm, type Receipt } from '#protocol';
import { chooseHost } from '#scheduling';
import type { z } from 'zod';
import { HostTable } from './host-table';

type Request = z.output<(typeof placeMicrovm)['request']>;

/** Answers repeated questions with the first answer without asking the journal; covers retries within the effect's back-off. */
const REMEMBERED = 4_096;
const RANDOM_RANGE = 2 ** 32;

/** Chooses hosts. A decision counts once its receipt is stored. */
@Injectable()
export class DecidePlacement implements OnModuleInit {
  #journal!: Journal<Receipt>;
  readonly #decided = new Map<string, Promise<Receipt>>();

  constructor(
    private readonly table: HostTable,
    @Inject(NATS) private readonly nats: NatsConnection,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  async onModuleInit(): Promise<void> {
    this.#journal = await openReceiptJournal(this.nats, ({ subject, sequence, error }) =>
      this.logger.error({ subject, sequence, err: error }, 'a message among the receipts is none; skipped'),
    );
  }

  execute(request: Request): Promise<Receipt> {
    const known = this.#decided.get(request.decisionId);
    if (known) return known;
    const deciding = this.#decide(request);
    this.#decided.set(request.decisionId, deciding);
    if (this.#decided.size > REMEMBERED) this.#decided.delete(this.#decided.keys().next().value!);
    deciding.catch(() => this.#decided.delete(request.decisionId));
    return deciding;
  }

  /** Receipts of one microVM, oldest first. */
  async receiptsOf(microvmId: string): Promise<Receipt[]> {
    return (await this.#journal.read(receipts(microvmId))).entries.map(({ record }) => record);
  }

  async #decide({ microvmId, epoch, decisionId, spec, excluded }: Request): Promise<Receipt> {
    const { image, vcpus, memoryMiB, tenant } = spec;
    const demand = { image, vcpus, memoryMiB, tenant, excluded };
    const imported = findImage(image) === undefined;
    const wanted = { ...demand, imported, network: wantedDevices(spec).network !== undefined };
    const choice = chooseHost(this.table.candidates(), wanted, () => randomInt(RANDOM_RANGE - 1) / RANDOM_RANGE);
    // Before the first await: the next decision must see it.
    if (choice.hostId) this.table.debit(choice.hostId, vcpus, memoryMiB);
    const receipt: Receipt = { id: decisionId, microvmId, epoch, at: wallClockMs(), demand, ...choice };
    const { duplicate } = await this.#journal.append(receipts(microvmId), receipt, {
      commandId: decisionId,
      expectedSequence: 'any',
    });
    if (!duplicate) return receipt;
    const stored = (await this.receiptsOf(microvmId)).find(({ id }) => id === decisionId);
    return stored ?? receipt;
  }
}
