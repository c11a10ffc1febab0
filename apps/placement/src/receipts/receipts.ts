import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import type { NatsConnection } from 'nats';
import type { Logger } from 'pino';
import { LOGGER, NATS } from '#bus';
import { openMicrovmJournal, openReceiptJournal } from '#fleet';
import type { Journal } from '#journal';
import { microvmHistory, type MicrovmRecord, type Receipt } from '#protocol';
import { ReceiptReader } from './receipt-reader';

/** The receipts of a microVM: its history knows which they are. */
@Injectable()
export class Receipts implements OnModuleInit {
  #histories!: Journal<MicrovmRecord>;
  #reader!: ReceiptReader;

  constructor(
    @Inject(NATS) private readonly nats: NatsConnection,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  async onModuleInit(): Promise<void> {
    const skipped = ({ subject, sequence, error }: { subject: string; sequence: number; error: unknown }): void =>
      this.logger.error({ subject, sequence, err: error }, 'a message is no record; skipped');
    this.#histories = await openMicrovmJournal(this.nats, skipped);
    this.#reader = new ReceiptReader(await openReceiptJournal(this.nats, skipped));
  }

  /** Oldest first; `only`: this one, if it is one of them. */
  async of(microvmId: string, only?: string): Promise<Receipt[]> {
    const { entries } = await this.#histories.read(microvmHistory(microvmId));
    // A place that is kept for a move is in its history twice: when it was chosen, and when it is taken.
    const ids = [...new Set(entries.flatMap(({ record }) => record.events.flatMap(receiptIdIn)))];
    return this.#reader.read(only === undefined ? ids : ids.filter((id) => id === only));
  }
}

function receiptIdIn(event: MicrovmRecord['events'][number]): string[] {
  return 'receiptId' in event && event.receiptId ? [event.receiptId] : [];
}
