import { createReadStream } from 'node:fs';
import { open, rm } from 'node:fs/promises';
import type { NatsConnection } from 'nats';
import { KeyedQueue } from '#concurrency';
import { BLOB_BUCKET, type Blob } from '#protocol';
import { blobOfFile, digestOf, DigestMeter } from './digest';
import { ImageError, explained } from './errors';
import { ObjectBucket, type PutOptions, type StoredObject } from './object-bucket';

/** Where a host gets the content of images from. */
export interface BlobSource {
  /**
   * Writes a blob into a file that is not there yet, and gives it up, file and all, when it is not the blob it should be.
   *
   * @throws ImageError `contentGone`, `wrongDigest`, `storeAway`, `noSpace` or `cancelled`.
   */
  fetch(digest: string, path: string, options?: FetchOptions): Promise<Blob>;
  /** A small blob, such as a manifest. @throws ImageError, as {@link fetch}; `tooLarge` beyond 1 MiB. */
  read(digest: string): Promise<Buffer>;
}

export interface FetchOptions {
  signal?: AbortSignal;
  onProgress?: (bytes: number) => void;
}

/** What is read into memory at once is no larger than this. */
const SMALL_BYTES = 1 << 20;

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

  async fetch(digest: string, path: string, { signal, onProgress }: FetchOptions = {}): Promise<Blob> {
    const found = await this.#find(digest);
    const meter = new DigestMeter();
    const file = await open(path, 'wx', 0o600);
    try {
      for await (const chunk of found.content) {
        if (signal?.aborted) throw new ImageError('cancelled', `fetching ${digest} was given up`);
        meter.add(chunk);
        await file.writeFile(chunk);
        onProgress?.(meter.bytes);
      }
      const blob = meter.result();
      if (blob.digest !== digest) throw damaged(digest);
      await file.datasync();
      return blob;
    } catch (error) {
      await rm(path, { force: true });
      throw explained(error, `fetching ${digest}`);
    } finally {
      await file.close();
    }
  }

  async read(digest: string): Promise<Buffer> {
    const found = await this.#find(digest);
    if (found.object.bytes > SMALL_BYTES) {
      throw new ImageError('tooLarge', `${digest} has ${found.object.bytes} bytes and is no manifest`);
    }
    const parts: Uint8Array[] = [];
    for await (const chunk of found.content) parts.push(chunk);
    const bytes = Buffer.concat(parts);
    if (digestOf(bytes) !== digest) throw damaged(digest);
    return bytes;
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
    if (!found) {
      throw new ImageError('contentGone', `the image store does not hold ${digest} any more; import the image again`);
    }
    return found;
  }
}

function damaged(digest: string): ImageError {
  return new ImageError('wrongDigest', `what the image store holds as ${digest} is something else; import it again`);
}
