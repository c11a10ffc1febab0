import { Controller } from '@nestjs/common';
import type { z } from 'zod';
import { Handles } from '#bus';
import { BlobStore, ImageDirectory } from '#images';
import { collectImages, imageJob, importImage, listImages, readBlob, removeImage, type Operation } from '#protocol';
import { CollectImages } from './collect/collect-images';
import { ImportJobs } from './jobs/import-jobs';

type RequestTo<O extends Operation> = z.output<O['request']>;

/** The image service's messages. */
@Controller()
export class ImagesController {
  constructor(
    private readonly jobs: ImportJobs,
    private readonly directory: ImageDirectory,
    private readonly collectImages: CollectImages,
    private readonly blobs: BlobStore,
  ) {}

  @Handles(importImage)
  async import(request: RequestTo<typeof importImage>) {
    return { job: await this.jobs.start(request) };
  }

  @Handles(imageJob)
  async job({ id, waitMs }: RequestTo<typeof imageJob>) {
    return { job: await this.jobs.get(id, waitMs) };
  }

  @Handles(listImages)
  async list() {
    return { items: (await this.directory.current()).list() };
  }

  @Handles(removeImage)
  async remove({ name }: RequestTo<typeof removeImage>) {
    return { removed: await this.directory.remove(name) };
  }

  @Handles(collectImages)
  collect({ dryRun }: RequestTo<typeof collectImages>) {
    return this.collectImages.execute(dryRun);
  }

  @Handles(readBlob)
  async blob({ digest, after }: RequestTo<typeof readBlob>) {
    const { content, next } = await this.blobs.part(digest, after);
    return { content: Buffer.from(content).toString('base64'), next };
  }
}
