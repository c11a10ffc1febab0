import { Inject, Injectable, type OnModuleDestroy, type OnModuleInit } from '@nestjs/common';
import type { NatsConnection } from 'nats';
import type { Logger } from 'pino';
import { LOGGER, NATS } from '#bus';
import type { Coresidency, Tenant } from '#protocol';
import { TenantDirectory } from '#tenancy';

/** The tenants on record, from memory; a change acts here within moments. */
@Injectable()
export class Tenants implements OnModuleInit, OnModuleDestroy {
  #directory!: TenantDirectory;

  constructor(
    @Inject(NATS) private readonly nats: NatsConnection,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  async onModuleInit(): Promise<void> {
    this.#directory = await TenantDirectory.open(this.nats, (key, error) =>
      this.logger.error({ key, err: error }, 'an entry among the tenants is none; it counts as absent'),
    );
  }

  onModuleDestroy(): void {
    this.#directory.close();
  }

  get(id: string): Tenant | undefined {
    return this.#directory.get(id);
  }

  coresidencyOf(id: string): Coresidency {
    return this.#directory.coresidencyOf(id);
  }
}
