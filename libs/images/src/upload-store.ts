import { open, rm } from 'node:fs/promises';
import type { NatsConnection } from 'nats';
import { UPLOAD_BUCKET, type Blob } from '#protocol';
import { ImageError, explained } from './errors';
import { ObjectBucket, type PutOptions } from './object-bucket';

/** Files on their way into an import, for an hour. */
export class UploadStore {
  private constructor(private readonly bucket: ObjectBucket) {}

  static async open(nc: NatsConnection): Promise<UploadStore> {
    return new UploadStore(await ObjectBucket.open(nc, UPLOAD_BUCKET));
  }

  /** Stores an upload, in place of an earlier one of this id. @throws ImageError */
  put(id: string, source: AsyncIterable<Uint8Array>, options: PutOptions): Promise<Blob> {
    return this.bucket.put(id, source, options);
  }

  /** Writes an upload into a new file; gives its digest and size. @throws ImageError */
  async fetch(
    id: string,
    path: string,
    options: { signal?: AbortSignal; onProgress?: (done: number, of: number) => void } = {},
  ): Promise<Blob> {
    const found = await this.bucket.get(id);
    if (!found) {
      throw new ImageError(
        'contentGone',
        `there is no upload ${id}; uploads are kept for an hour: send the file again`,
      );
    }
    const { object, content } = found;
    const file = await open(path, 'wx', 0o600);
    try {
      let done = 0;
      for await (const chunk of content) {
        if (options.signal?.aborted) throw new ImageError('cancelled', 'fetching the upload was given up');
        await file.writeFile(chunk);
        options.onProgress?.((done += chunk.length), object.bytes);
      }
      return { digest: object.digest, bytes: object.bytes };
    } catch (error) {
      await rm(path, { force: true });
      throw explained(error, 'fetching the upload');
    } finally {
      await file.close();
    }
  }

  remove(id: string): Promise<boolean> {
    return this.bucket.remove(id);
  }

  /** Removes what uploads left that broke off. Those younger than this may still be at it. */
  sweepUnfinished(olderThanMs: number): Promise<number> {
    return this.bucket.sweepUnfinished(olderThanMs);
  }
}
