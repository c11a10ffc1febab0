import { Inject, Injectable, type OnModuleDestroy, type OnModuleInit } from '@nestjs/common';
import type { NatsConnection } from 'nats';
import type { Logger } from 'pino';
import { LOGGER, NATS } from '#bus';
import { BlobStore, decodeManifest, ImageDirectory, ImageError } from '#images';
import type { ImageManifest } from '#protocol';
import type { ImportedImages } from './pin-image';

/** Imported images as the controller knows them: names from memory, content that no name stands for any more from the store. */
@Injectable()
export class ImageCatalogue implements ImportedImages, OnModuleInit, OnModuleDestroy {
  #directory!: ImageDirectory;
  #blobs!: BlobStore;

  constructor(
    @Inject(NATS) private readonly nats: NatsConnection,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  async onModuleInit(): Promise<void> {
    const onUnreadable = (key: string, error: unknown): void =>
      this.logger.error({ key, err: error }, 'an entry among the images is none; skipped');
    this.#directory = await ImageDirectory.open(this.nats, { onUnreadable });
    this.#blobs = await BlobStore.open(this.nats);
  }

  onModuleDestroy(): void {
    this.#directory.close();
  }

  names(): string[] {
    return this.#directory
      .list()
      .filter(({ manifest }) => manifest.kind === 'linux')
      .map(({ name }) => name);
  }

  async named(name: string): Promise<{ digest: string; manifest: ImageManifest } | undefined> {
    return this.#directory.find(name);
  }

  async withDigest(digest: string): Promise<ImageManifest | undefined> {
    const named = this.#directory.withDigest(digest);
    if (named) return named.manifest;
    try {
      return decodeManifest(await this.#blobs.read(digest));
    } catch (error) {
      if (error instanceof ImageError && error.failure !== 'storeAway') return undefined;
      throw error;
    }
  }
}
