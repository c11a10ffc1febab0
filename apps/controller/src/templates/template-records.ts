import { Inject, Injectable, type OnModuleDestroy, type OnModuleInit } from '@nestjs/common';
import type { NatsConnection } from 'nats';
import type { Logger } from 'pino';
import { LOGGER, NATS } from '#bus';
import { LiveBucket } from '#journal';
import {
  OperationError,
  parseTemplateReference,
  placesOfTemplate,
  Template,
  TEMPLATE_BUCKET,
  TemplateId,
  TemplateRecord,
  type MicrovmSpec,
  type TemplatePlaces,
} from '#protocol';

/** The templates on record, from memory; a change of another controller is seen here within moments. */
@Injectable()
export class TemplateRecords implements OnModuleInit, OnModuleDestroy {
  #bucket!: LiveBucket<TemplateRecord>;

  constructor(
    @Inject(NATS) private readonly nats: NatsConnection,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  async onModuleInit(): Promise<void> {
    this.#bucket = await LiveBucket.open(this.nats, {
      name: TEMPLATE_BUCKET.name,
      decode: (json) => TemplateRecord.parse(json),
      holds: (key) => TemplateId.safeParse(key).success,
      onUnreadable: (key, error) =>
        this.logger.error({ key, err: error }, 'an entry among the templates is none; it counts as absent'),
    });
  }

  onModuleDestroy(): void {
    this.#bucket.close();
  }

  get(id: string): TemplateRecord | undefined {
    return this.#bucket.get(id);
  }

  /** As {@link get}, but asks the bucket when it is not known here: it may have been made just now. @throws OperationError `unavailable` */
  async find(id: string): Promise<TemplateRecord | undefined> {
    return this.get(id) ?? (await answered(this.#bucket.find(id)));
  }

  /** Oldest first. */
  list(): TemplateRecord[] {
    return [...this.#bucket.values()].sort((a, b) => a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1));
  }

  /** What a placement of this spec depends on; nothing, when it is no clone. */
  placesOf({ template }: Pick<MicrovmSpec, 'template'>): { template?: TemplatePlaces } {
    if (template === undefined) return {};
    const { template: id } = parseTemplateReference(template);
    const record = this.get(id);
    return { template: record ? placesOfTemplate(record) : { id, hosts: [] } };
  }

  /** Writes what `change` makes of what is there; undefined removes it. @throws OperationError `unavailable`; what `change` throws. */
  async update(
    id: string,
    change: (now: TemplateRecord | undefined) => TemplateRecord | undefined,
  ): Promise<TemplateRecord | undefined> {
    let written: TemplateRecord | undefined;
    await answered(this.#bucket.update(id, (now) => (written = change(now))));
    return written;
  }
}

/** What readers see of a record. */
export function viewTemplate({ spec: _, ...template }: TemplateRecord): Template {
  return template;
}

async function answered<R>(work: Promise<R>): Promise<R> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof OperationError) throw error;
    throw new OperationError('unavailable', `templates cannot be reached: ${(error as Error).message}; try again`);
  }
}
