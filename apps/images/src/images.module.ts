import { join } from 'node:path';
import {
  Inject,
  Injectable,
  Module,
  type DynamicModule,
  type OnModuleDestroy,
  type OnModuleInit,
} from '@nestjs/common';
import type { ServiceContext } from '#bus';
import { BlobStore, ImageDirectory, ImageJobs, TemplateContents, UploadStore } from '#images';
import type { Logger } from 'pino';
import { CollectImages } from './collect/collect-images';
import { ImagesController } from './images.controller';
import type { ImagesConfig } from './images.config';
import { Importer } from './import/importer';
import { ImportJobs } from './jobs/import-jobs';
import { WorkFolder } from './programs/work-folder';
import { TemplateContentController } from './templates/template-content.controller';
import { TemplatesOnRecord } from './templates/templates-on-record';

const MIB = 1 << 20;
const SWEEP_EVERY_MS = 3_600_000;
/** An upload or a blob that nobody has added to for so long is never finished. */
const UNFINISHED_MS = 3_600_000;

interface Parts {
  blobs: BlobStore;
  uploads: UploadStore;
  directory: ImageDirectory;
  jobs: ImportJobs;
  work: WorkFolder;
  log: Logger;
}
const PARTS = Symbol('volley.images.parts');

/** Begins and ends with the service. */
@Injectable()
class Life implements OnModuleInit, OnModuleDestroy {
  #sweep: NodeJS.Timeout | undefined;

  constructor(@Inject(PARTS) private readonly parts: Parts) {}

  async onModuleInit(): Promise<void> {
    await this.parts.jobs.begin();
    this.#sweep = setInterval(() => void this.sweep(), SWEEP_EVERY_MS);
    void this.sweep();
  }

  async onModuleDestroy(): Promise<void> {
    clearInterval(this.#sweep);
    await this.parts.jobs.stop();
    this.parts.directory.close();
    this.parts.work.close();
  }

  async sweep(): Promise<void> {
    const { blobs, uploads, log } = this.parts;
    try {
      const swept = (await blobs.sweepUnfinished(UNFINISHED_MS)) + (await uploads.sweepUnfinished(UNFINISHED_MS));
      if (swept > 0) log.info({ swept }, 'removed what broken uploads and imports left');
    } catch (error) {
      log.debug({ err: error }, 'what broken uploads and imports left could not be looked for');
    }
  }
}

/** Imports images, keeps their content and names, collects what nobody uses. */
@Module({})
export class ImagesModule {
  static async open({ nats, logger }: ServiceContext, config: ImagesConfig): Promise<DynamicModule> {
    const work = WorkFolder.open(join(config.imagesDir, 'work'));
    const [blobs, uploads, directory, jobStore, contents] = await Promise.all([
      BlobStore.open(nats),
      UploadStore.open(nats),
      ImageDirectory.open(nats, {
        onUnreadable: (key, error) => logger.error({ key, err: error }, 'an entry among the images is none; skipped'),
      }),
      ImageJobs.open(nats),
      TemplateContents.open(nats, { maxBytes: config.templateStoreMib * MIB }),
    ]);
    const importer = new Importer(
      { work, blobs, uploads, directory },
      {
        initPath: config.guestInitPath,
        cacheFolder: config.kernelCacheDir ?? join(config.imagesDir, 'kernels'),
        maxBytes: config.maxImageMib * MIB,
        reserveBytes: config.imagesReserveMib * MIB,
        registryMs: config.registrySilenceS * 1_000,
      },
    );
    const jobs = new ImportJobs(jobStore, importer, logger, { atOnce: config.importsAtOnce });
    const parts: Parts = { blobs, uploads, directory, jobs, work, log: logger };
    return {
      module: ImagesModule,
      controllers: [ImagesController, TemplateContentController],
      providers: [
        { provide: PARTS, useValue: parts },
        { provide: ImportJobs, useValue: jobs },
        { provide: BlobStore, useValue: blobs },
        { provide: ImageDirectory, useValue: directory },
        { provide: CollectImages, useValue: new CollectImages({ nats, blobs, directory, jobs, log: logger }) },
        { provide: TemplateContents, useValue: contents },
        TemplatesOnRecord,
        Life,
      ],
    };
  }
}
