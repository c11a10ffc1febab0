import { createReadStream } from 'node:fs';
import type { NatsConnection } from 'nats';
import { KeyedQueue } from '#concurrency';
import { BLOB_BUCKET, type Blob } from '#protocol';
import { contentGone, readSmallBlob, writeBlob, type BlobSource, type FetchOptions } from './blob-source';
import { blobOfFile, digestOf, DigestMeter } from './digest';
import { ImageError, explained } from './errors';
import { ObjectBucket, type PutOptions, type StoredObject } from './object-bucket';

/** The content of images, by digest: whatever is under a digest has it. Any number of processes may write and read. */
export class BlobStore implements BlobSource {
  /** Of two that write, touch or remove one blob here, one waits for the other. */
  readonly #turns = new KeyedQueue();

  private constructor(private readonly bucket: ObjectBucket) {}

  static async open(nc: NatsConnection): Promise<BlobStore> {
    return new BlobStore(await ObjectBucket.open(nc, BLOB_BUCKET));
  }

  /**
   * Stores a file under its digest. Content that is there already is not sent again, but counts as put now, so that nobody who
   * collects takes it away. It is read, though: what has been damaged in the store is put anew.
   *
   * @throws ImageError
   */
  async putFile(path: string, options: Omit<PutOptions, 'expectedDigest'> = {}): Promise<Blob> {
    const blob = await blobOfFile(path, options.signal).catch((error: unknown) => {
      throw explained(error, 'reading what is to be stored');
    });
    return this.#turns.run(blob.digest, async () => {
      if (await this.#keep(blob)) return blob;
      const content = createReadStream(path, { highWaterMark: 1 << 20 });
      return this.bucket.put(blob.digest, content, { ...options, expectedDigest: blob.digest });
    });
  }

  async putBytes(bytes: Buffer): Promise<Blob> {
    const blob = { digest: digestOf(bytes), bytes: bytes.length };
    return this.#turns.run(blob.digest, async () => {
      if (await this.#keep(blob)) return blob;
      return this.bucket.put(blob.digest, [bytes] as unknown as AsyncIterable<Uint8Array>, {
        expectedDigest: blob.digest,
      });
    });
  }

  async has(digest: string): Promise<boolean> {
    return (await this.bucket.stat(digest)) !== undefined;
  }

  /** Whether a blob is there and its content is what it should be; reads all of it. @throws ImageError `storeAway` */
  async isWhole(digest: string): Promise<boolean> {
    try {
      const { content } = await this.#find(digest);
      const meter = new DigestMeter();
      for await (const chunk of content) meter.add(chunk);
      return meter.result().digest === digest;
    } catch (error) {
      if (error instanceof ImageError && (error.failure === 'wrongDigest' || error.failure === 'contentGone'))
        return false;
      throw error;
    }
  }

  async fetch(digest: string, path: string, options: FetchOptions = {}): Promise<Blob> {
    const { content } = await this.#find(digest);
    return writeBlob(digest, content, path, options);
  }

  async read(digest: string): Promise<Buffer> {
    const { content } = await this.#find(digest);
    return readSmallBlob(digest, content);
  }

  /** A part of a blob; see {@link ObjectBucket.part}. @throws ImageError `contentGone` or `storeAway` */
  async part(digest: string, after: number): Promise<{ content: Uint8Array; next: number | null }> {
    const part = await this.bucket.part(digest, after);
    if (!part) throw contentGone(digest);
    return part;
  }

  list(): Promise<StoredObject[]> {
    return this.bucket.list();
  }

  /** Removes a blob unless it was put or touched after `before`, ms since 1970. False: it is kept, or was not there. */
  async removeUnless(digest: string, before: number): Promise<boolean> {
    return this.#turns.run(digest, async () => {
      const object = await this.bucket.stat(digest);
      if (!object || object.modifiedAt > before) return false;
      return this.bucket.remove(digest);
    });
  }

  /** Removes what writers left that died more than an hour ago. */
  sweepUnfinished(olderThanMs = 3_600_000): Promise<number> {
    return this.bucket.sweepUnfinished(olderThanMs);
  }

  /** Bytes on the server's disk. */
  storedBytes(): Promise<number> {
    return this.bucket.storedBytes();
  }

  async #keep(blob: Blob): Promise<boolean> {
    const there = await this.bucket.stat(blob.digest);
    if (!there || there.digest !== blob.digest || there.bytes !== blob.bytes) return false;
    return (await this.isWhole(blob.digest)) && this.bucket.touch(blob.digest);
  }

  async #find(digest: string) {
    const found = await this.bucket.get(digest);
    if (!found) throw contentGone(digest);
    return found;
  }
}
