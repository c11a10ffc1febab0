import type { Readable } from 'node:stream';
import { Controller, Inject, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { BusClient } from '#bus';
import { ImageDirectory, ImageError, UploadStore } from '#images';
import {
  collectImages,
  imageJob,
  importImage,
  OperationError,
  removeImage,
  type Image,
  type ImageJob,
} from '#protocol';
import { clientGone } from '../http/client-gone';
import { ProblemError } from '../http/problem';
import { Input, Serves, type InputOf } from '../http/route';
import * as routes from './images.routes';

/** Largest upload, in bytes. */
export const MAX_UPLOAD_BYTES = Symbol('volley.gateway.maxUploadBytes');

/** Images over REST: reads from the directory in memory, uploads into the object store, everything else through the bus. */
@Controller()
export class ImagesController {
  constructor(
    @Inject(BusClient) private readonly bus: BusClient,
    @Inject(ImageDirectory) private readonly directory: ImageDirectory,
    @Inject(UploadStore) private readonly uploads: UploadStore,
    @Inject(MAX_UPLOAD_BYTES) private readonly maxUploadBytes: number,
  ) {}

  @Serves(routes.importImageRoute)
  async import(
    @Input(routes.importImageRoute) { who, body }: InputOf<typeof routes.importImageRoute>,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<ImageJob> {
    const { job } = await this.bus.call(importImage, { ...body, by: who.name });
    reply.status(202).header('location', `/v1/image-jobs/${job.id}`);
    return job;
  }

  @Serves(routes.imageJobRoute)
  async job(
    @Input(routes.imageJobRoute) { params, query }: InputOf<typeof routes.imageJobRoute>,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<ImageJob> {
    const signal = clientGone(reply.raw);
    const { job } = await this.bus.call(imageJob, { id: params.id, waitMs: query.wait ?? 0 }, { signal });
    return job;
  }

  @Serves(routes.listImagesRoute)
  async list(@Input(routes.listImagesRoute) _input: unknown): Promise<{ items: Image[] }> {
    return { items: (await this.directory.current()).list() };
  }

  @Serves(routes.getImageRoute)
  async get(@Input(routes.getImageRoute) { params }: InputOf<typeof routes.getImageRoute>): Promise<Image> {
    const image = (await this.directory.current()).get(params.name);
    if (!image) throw unknown(params.name);
    return image;
  }

  @Serves(routes.removeImageRoute)
  async remove(@Input(routes.removeImageRoute) { who, params }: InputOf<typeof routes.removeImageRoute>) {
    const { removed } = await this.bus.call(removeImage, { name: params.name, by: who.name });
    if (!removed) throw unknown(params.name);
    return { removed };
  }

  @Serves(routes.collectImagesRoute)
  collect(@Input(routes.collectImagesRoute) { body }: InputOf<typeof routes.collectImagesRoute>) {
    return this.bus.call(collectImages, body);
  }

  @Serves(routes.uploadRoute)
  async upload(
    @Input(routes.uploadRoute) { params }: InputOf<typeof routes.uploadRoute>,
    @Req() request: FastifyRequest,
  ) {
    const { maxUploadBytes: maxBytes } = this;
    const tooLarge = (): ProblemError =>
      new ProblemError(413, 'tooLarge', `The file is larger than the ${maxBytes} bytes that this gateway takes.`);
    if (Number(request.headers['content-length'] ?? 0) > maxBytes) throw tooLarge();
    try {
      const { digest, bytes } = await this.uploads.put(params.id, fileIn(request), { maxBytes });
      return { id: params.id, digest, bytes };
    } catch (error) {
      if (error instanceof ImageError && error.failure === 'tooLarge') throw tooLarge();
      throw error;
    }
  }
}

/** The body as it comes in; a request without one is an empty file. */
function fileIn(request: FastifyRequest): AsyncIterable<Uint8Array> {
  return (request.body as Readable | undefined) ?? (request.raw as Readable);
}

function unknown(name: string): OperationError {
  return new OperationError('notFound', `No image is named ${name}; GET /v1/images lists them.`);
}
