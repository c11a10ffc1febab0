import { Inject, Injectable, type OnModuleDestroy, type OnModuleInit } from '@nestjs/common';
import type { NatsConnection } from 'nats';
import type { Logger } from 'pino';
import { LOGGER, NATS } from '#bus';
import { TemplateContents } from '#images';
import { LiveBucket } from '#journal';
import { TEMPLATE_BUCKET, TemplateId, TemplateRecord } from '#protocol';

/** How long after a template was deleted its pieces are swept, ms: by then nobody counts on them any more. */
const SWEEP_AFTER_MS = 330_000;
const SWEEP_EVERY_MS = 3_600_000;
const CURRENT_MS = 1_000;

/** The templates on record, and the sweeping of content that belongs to none of them. */
@Injectable()
export class TemplatesOnRecord implements OnModuleInit, OnModuleDestroy {
  #records!: LiveBucket<TemplateRecord>;
  #sweeping: Promise<unknown> = Promise.resolve();
  /** By what they are for; set anew, one begins again. */
  readonly #timers = new Map<'now' | 'later' | 'regular', NodeJS.Timeout>();

  constructor(
    @Inject(NATS) private readonly nats: NatsConnection,
    @Inject(LOGGER) private readonly logger: Logger,
    private readonly contents: TemplateContents,
  ) {}

  async onModuleInit(): Promise<void> {
    this.#records = await LiveBucket.open(this.nats, {
      name: TEMPLATE_BUCKET.name,
      decode: (json) => TemplateRecord.parse(json),
      holds: (key) => TemplateId.safeParse(key).success,
      onUnreadable: (key, error) => this.logger.error({ key, err: error }, 'an entry among the templates is none'),
    });
    this.#records.onChange((_id, record) => {
      if (record && isWanted(record)) return;
      this.#sweepIn(0, 'now');
      this.#sweepIn(SWEEP_AFTER_MS, 'later');
    });
    this.#sweepIn(0, 'now');
    this.#timers.set('regular', setInterval(() => this.#sweepIn(0, 'now'), SWEEP_EVERY_MS).unref());
  }

  onModuleDestroy(): void {
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#records.close();
  }

  /** A template that can be used; it may have become so just now. */
  async ready(id: string): Promise<TemplateRecord | undefined> {
    const known = this.#records.get(id);
    const record = known?.state === 'ready' ? known : await this.#records.find(id);
    return record?.state === 'ready' ? record : undefined;
  }

  #sweepIn(ms: number, name: 'now' | 'later'): void {
    clearTimeout(this.#timers.get(name));
    const sweep = (): void => void (this.#sweeping = this.#sweeping.then(() => this.#sweep()));
    this.#timers.set(name, setTimeout(sweep, ms).unref());
  }

  async #sweep(): Promise<void> {
    try {
      await this.#records.current(CURRENT_MS);
      const swept = await this.contents.sweep((id) => {
        const record = this.#records.get(id);
        return record !== undefined && isWanted(record);
      });
      if (swept.templates + swept.pieces > 0) this.logger.info(swept, 'removed content of templates that are gone');
    } catch (error) {
      this.logger.warn({ err: error }, 'content of templates that are gone could not be removed yet');
    }
  }
}

function isWanted({ state }: TemplateRecord): boolean {
  return state === 'creating' || state === 'ready';
}
