import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createReadStream } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { INestMicroservice } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { jetstreamManager } from '@nats-io/jetstream';
import type { NatsConnection } from 'nats';
import pino from 'pino';
import { BusClient, BusModule, connectNats, FleetBus, type ServiceContext, RequestGate } from '#bus';
import { UploadStore } from '#images';
import { ANY, imageJob, importImage, type ImageJob, type RequestOf } from '#protocol';
import { startNatsServer, type NatsServer } from '../../../../test/support/nats-server';
import { ImagesConfig } from '../images.config';
import { ImagesModule } from '../images.module';

/** The image service in this process, on a nats-server of its own. */
export class ImageService {
  readonly folder = mkdtempSync(join(tmpdir(), 'volley-images-'));
  readonly imagesDir = join(this.folder, 'images');
  /** What it logged. */
  readonly log: string[] = [];
  server!: NatsServer;
  nc!: NatsConnection;
  bus!: BusClient;
  uploads!: UploadStore;
  #app: INestMicroservice | undefined;
  #uploaded = 0;

  static async start(imagesDir?: (folder: string) => string): Promise<ImageService> {
    const service = new ImageService();
    service.server = await startNatsServer();
    service.nc = await connectNats({ servers: service.server.url, name: 'images-under-test' });
    service.bus = new BusClient(service.nc, pino({ level: 'silent' }));
    service.uploads = await UploadStore.open(service.nc);
    writeFileSync(join(service.folder, 'init'), 'init for guests');
    await service.restart(imagesDir?.(service.folder));
    return service;
  }

  async restart(imagesDir = this.imagesDir): Promise<void> {
    await this.#app?.close();
    const logger = pino({ level: 'debug' }, { write: (line: string) => void this.log.push(line) });
    const config = ImagesConfig.parse({
      imagesDir,
      guestInitPath: join(this.folder, 'init'),
      kernelCacheDir: join(this.folder, 'kernels'),
      imagesReserveMib: 0,
    });
    const context: ServiceContext = {
      name: 'images',
      nats: this.nc,
      bus: this.bus,
      logger,
      shutdown: new AbortController().signal,
      gate: new RequestGate(),
    };
    const module = await ImagesModule.open(context, config);
    class Root {}
    this.#app = await NestFactory.createMicroservice(
      { module: Root, imports: [BusModule.forRoot(context), module] },
      {
        strategy: new FleetBus({ connection: this.nc, logger, values: { hostId: ANY } }),
        logger: false,
        abortOnError: false,
      },
    );
    await this.#app.listen();
  }

  async stop(): Promise<void> {
    await this.#app?.close();
    await this.nc.close();
    await this.server.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }

  async upload(path: string): Promise<string> {
    const id = `u${++this.#uploaded}`;
    await this.uploads.put(id, createReadStream(path), {});
    return id;
  }

  /** Begins an import and waits until it is over. */
  async import(request: RequestOf<typeof importImage>): Promise<ImageJob> {
    const { job } = await this.bus.call(importImage, request);
    return this.over(job.id);
  }

  async over(id: string): Promise<ImageJob> {
    for (;;) {
      const { job } = await this.bus.call(imageJob, { id, waitMs: 20_000 });
      if (job.state !== 'running') return job;
    }
  }

  /** Imports a file. */
  async importFile(
    name: string,
    path: string,
    format: Extract<RequestOf<typeof importImage>['source'], { type: 'upload' }>['format'],
    more: Partial<RequestOf<typeof importImage>> = {},
  ): Promise<ImageJob> {
    return this.import({ name, source: { type: 'upload', uploadId: await this.upload(path), format }, ...more });
  }

  /** Names of folders of imports that are there. */
  workFolders(): string[] {
    const base = join(this.imagesDir, 'work');
    return readdirSync(base).flatMap((one) => readdirSync(join(base, one)));
  }

  /** Chunks in a bucket of the object store, of objects whole or half. */
  async chunks(bucket: string): Promise<number> {
    const { state } = await (
      await jetstreamManager(this.nc)
    ).streams.info(`OBJ_${bucket}`, {
      subjects_filter: `$O.${bucket}.C.>`,
    });
    return Object.values(state.subjects ?? {}).reduce((sum, count) => sum + count, 0);
  }
}
