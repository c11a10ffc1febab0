import type { Logger } from 'pino';
import type { NatsConnection } from 'nats';
import { openFleetView } from '#fleet';
import { collectBlobs, type BlobStore, type Collected, type ImageDirectory } from '#images';
import { findImage } from '#protocol';
import type { ImportJobs } from '../jobs/import-jobs';

const PAGE = 1_000;

/** Removes content that nothing uses: no image, no microVM that exists (it may be started again), no import that runs. */
export class CollectImages {
  #last: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly parts: {
      nats: NatsConnection;
      blobs: BlobStore;
      directory: ImageDirectory;
      jobs: Pick<ImportJobs, 'oldestRunning'>;
      log: Logger;
    },
  ) {}

  /** One at a time here. @throws ImageError */
  execute(dryRun: boolean): Promise<Collected> {
    const collecting = this.#last.then(() => this.#collect(dryRun));
    this.#last = collecting.catch(() => undefined);
    return collecting;
  }

  async #collect(dryRun: boolean): Promise<Collected> {
    const { blobs, directory, jobs, log } = this.parts;
    const now = Date.now();
    // What an import counts on it has put or touched since it began; what one that begins from now on counts on, since now.
    const before = Math.min(now, (await jobs.oldestRunning()) ?? now);
    const images = (await directory.current()).list();
    const references = await this.#references();
    const collected = await collectBlobs(blobs, { images, references, before, dryRun });
    log.info({ ...collected, dryRun }, 'collected what no image and no microVM uses');
    return collected;
  }

  async #references(): Promise<Set<string>> {
    const { nats, log } = this.parts;
    const fleet = await openFleetView(nats, {
      onFailure: (error) => log.error({ err: error }, 'the histories were lost while content was collected'),
      onSkipped: (subject, sequence, error) => log.error({ subject, sequence, err: error }, 'a record is skipped'),
    });
    try {
      const references = new Set<string>();
      let cursor: string | undefined;
      do {
        const page = fleet.list({ limit: PAGE, cursor });
        for (const { image } of page.items) if (!findImage(image)) references.add(image);
        cursor = page.nextCursor ?? undefined;
      } while (cursor !== undefined);
      return references;
    } finally {
      fleet.close();
    }
  }
}
