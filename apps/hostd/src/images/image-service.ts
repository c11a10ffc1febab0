import { Inject, Injectable, type OnModuleDestroy, type OnModuleInit } from '@nestjs/common';
import { setTimeout as pause } from 'node:timers/promises';
import type { NatsConnection } from 'nats';
import type { Logger } from 'pino';
import { LOGGER, NATS } from '#bus';
import { BlobStore } from '#images';
import { HostAgent } from '../host-agent';

const RETRY_MS = 2_000;

/**
 * Joins the host's images to the image store when that can be reached. The agent serves without it: what runs goes on, and
 * images that are in the cache start.
 */
@Injectable()
export class ImageService implements OnModuleInit, OnModuleDestroy {
  readonly #end = new AbortController();

  constructor(
    @Inject(HostAgent) private readonly agent: HostAgent,
    @Inject(NATS) private readonly nats: NatsConnection,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  onModuleInit(): void {
    void this.#connect();
  }

  onModuleDestroy(): void {
    this.#end.abort();
  }

  async #connect(): Promise<void> {
    const { signal } = this.#end;
    for (let told = false; !signal.aborted;) {
      try {
        this.agent.imageCache.connect(await BlobStore.open(this.nats));
        return;
      } catch (error) {
        if (!told) this.logger.warn({ err: error as Error }, 'the image store cannot be reached; trying on');
        told = true;
      }
      await pause(RETRY_MS, undefined, { signal, ref: false }).catch(() => undefined);
    }
  }
}
