import {
  Inject,
  Injectable,
  type OnApplicationBootstrap,
  type OnModuleDestroy,
  type OnModuleInit,
} from '@nestjs/common';
import type { NatsConnection } from 'nats';
import type { Logger } from 'pino';
import { LOGGER, NATS } from '#bus';
import { compactExpired, openReceiptJournal, openStoredMicrovms, RetentionMark } from '#fleet';
import { Partitions } from '../partitions/partitions';

/** Injects after how many days histories are compacted; null: never. */
export const RETENTION_DAYS = Symbol('volley.retention-days');

const DAY_MS = 86_400_000;
/** Not while a controller has its hands full with its start. */
const FIRST_RUN_MS = 60_000;
const EVERY_MS = 6 * 3_600_000;
/** Time left to others after each history, as a multiple of what compacting it took: no more than a fifth of the server is ours. */
const LEAVE = 4;
/** Whoever owns the partition of this word does the work. */
const OWNED_AS = 'retention';

/**
 * Throws away what is older than the operator wants to keep: of microVMs that were deleted so long ago all records but the last, and
 * receipts of so long ago. Nothing by default. Living microVMs keep their whole history, whatever its age.
 */
@Injectable()
export class Retention implements OnModuleInit, OnApplicationBootstrap, OnModuleDestroy {
  #mark!: RetentionMark;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(
    @Inject(RETENTION_DAYS) private readonly days: number | null,
    @Inject(NATS) private readonly nats: NatsConnection,
    @Inject(LOGGER) private readonly logger: Logger,
    private readonly partitions: Partitions,
  ) {}

  async onModuleInit(): Promise<void> {
    this.#mark = await RetentionMark.open(this.nats);
  }

  onApplicationBootstrap(): void {
    this.#wake(FIRST_RUN_MS);
  }

  onModuleDestroy(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  /** Goes through everything once, if that is ours to do. Whatever ends it, the next run goes on. */
  async run(now = Date.now()): Promise<void> {
    if (!this.#isOurs()) return;
    if (this.days === null) {
      await this.#mark.note({ days: null });
      return;
    }
    const before = now - this.days * DAY_MS;
    // First the mark: whoever looks into the past meanwhile must know what may be missing.
    await this.#mark.note({ days: this.days, compactedBefore: before });
    const microvms = await openStoredMicrovms(this.nats, ({ subject, sequence, error }) =>
      this.logger.warn({ subject, sequence, err: error }, 'a message on a history is no record; left alone'),
    );
    const histories = await compactExpired({
      journal: microvms,
      endedBefore: before,
      mayGoOn: () => this.#isOurs(),
      pause: (tookMs) => new Promise((resolve) => setTimeout(resolve, LEAVE * tookMs)),
    });
    if (!this.#isOurs()) return;
    const receipts = await (await openReceiptJournal(this.nats, () => undefined)).trim(before);
    await this.#mark.note({ ranAt: Date.now() });
    this.logger.info({ days: this.days, histories, receipts }, 'what is too old was compacted');
  }

  #isOurs(): boolean {
    return !this.#stopped && this.partitions.owns(OWNED_AS);
  }

  #wake(afterMs: number): void {
    this.#timer = setTimeout(() => {
      this.run()
        .catch((error: unknown) => this.logger.warn({ err: error }, 'compacting was cut short; it goes on later'))
        .finally(() => {
          if (!this.#stopped) this.#wake(EVERY_MS);
        });
    }, afterMs);
    this.#timer.unref();
  }
}
