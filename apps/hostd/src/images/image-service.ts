import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import type { NatsConnection } from 'nats';
import { NATS } from '#bus';
import { BlobStore } from '#images';
import { HostAgent } from '../host-agent';

/** Joins the host's images to the image store once NATS is there. */
@Injectable()
export class ImageService implements OnModuleInit {
  constructor(
    @Inject(HostAgent) private readonly agent: HostAgent,
    @Inject(NATS) private readonly nats: NatsConnection,
  ) {}

  async onModuleInit(): Promise<void> {
    this.agent.imageCache.connect(await BlobStore.open(this.nats));
  }
}
