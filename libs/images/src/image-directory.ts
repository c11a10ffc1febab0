import type { KV, KvEntry, KvWatchEntry } from '@nats-io/kv';
import type { NatsConnection, QueuedIterator } from 'nats';
import { openKeyValue } from '#journal';
import { IMAGE_BUCKET, Image } from '#protocol';
import { storeError } from './object-bucket';
import { imageKey } from './image-key';

export interface DirectoryOptions {
  /** Told of entries that are no images; they are skipped. */
  onUnreadable?: (key: string, error: unknown) => void;
}

const RETRY_MS = 500;

/**
 * Which image each name stands for: a KV bucket, held in memory by a watch, so that a reader asks nobody. A change of another
 * process is seen a moment later; {@link current} waits for those that were made before it was called.
 */
export class ImageDirectory {
  #images = new Map<string, Image>();
  readonly #waiters = new Set<() => void>();
  #position = 0;
  #watch: QueuedIterator<KvWatchEntry> | undefined;
  #closed = false;

  private constructor(
    private readonly nc: NatsConnection,
    private readonly bucket: KV,
    private readonly options: DirectoryOptions,
  ) {}

  /** Opens the directory, and makes its bucket when it is not there. Resolves when it holds what is there now. */
  static async open(nc: NatsConnection, options: DirectoryOptions = {}): Promise<ImageDirectory> {
    try {
      const directory = new ImageDirectory(nc, await openKeyValue(nc, IMAGE_BUCKET), options);
      await directory.#follow();
      return directory;
    } catch (error) {
      throw storeError(error, 'the directory of images cannot be opened');
    }
  }

  /** All images and kernels, by name. */
  list(): Image[] {
    return [...this.#images.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  get(name: string): Image | undefined {
    return this.#images.get(imageKey(name));
  }

  /** As {@link get}, but asks the bucket when the name is not known here: it may have been given just now. */
  async find(name: string): Promise<Image | undefined> {
    const known = this.get(name);
    if (known) return known;
    try {
      const entry = await this.bucket.get(imageKey(name));
      return entry?.operation === 'PUT' ? Image.safeParse(entry.json()).data : undefined;
    } catch (error) {
      throw storeError(error, `${name} could not be looked up`);
    }
  }

  /** Any image with this digest. */
  withDigest(digest: string): Image | undefined {
    for (const image of this.#images.values()) if (image.digest === digest) return image;
    return undefined;
  }

  /** Lets a name stand for an image from now on. */
  async put(image: Image): Promise<void> {
    try {
      const revision = await this.bucket.put(imageKey(image.name), JSON.stringify(image));
      await this.#reached(revision, 2_000);
    } catch (error) {
      throw storeError(error, `${image.name} could not be named`);
    }
  }

  /** Takes a name away. False: it stood for nothing. */
  async remove(name: string): Promise<boolean> {
    try {
      await this.current();
      if (!this.get(name)) return false;
      await this.bucket.purge(imageKey(name));
      await this.current();
      return true;
    } catch (error) {
      throw storeError(error, `${name} could not be removed`);
    }
  }

  /** Resolves when every change that was made before is seen here, or after `deadlineMs`. */
  async current(deadlineMs = 1_000): Promise<this> {
    try {
      const { streamInfo } = await this.bucket.status();
      await this.#reached(streamInfo.state.last_seq, deadlineMs);
    } catch (error) {
      throw storeError(error, 'the directory of images cannot be read');
    }
    return this;
  }

  close(): void {
    this.#closed = true;
    this.#watch?.stop();
  }

  /** Begins anew with what is there now; until that is all here, readers see what was there before. */
  async #follow(): Promise<void> {
    const images = new Map<string, Image>();
    const { streamInfo } = await this.bucket.status();
    const { last_seq: end, messages } = streamInfo.state;
    const watch = await this.bucket.watch({});
    this.#watch = watch;
    await new Promise<void>((resolve, reject) => {
      let initial = true;
      const seen = (revision: number): void => {
        if (initial && revision >= end) {
          initial = false;
          this.#images = images;
          resolve();
        }
        if (!initial) this.#advance(revision);
      };
      if (messages === 0) seen(end);
      void this.#consume(watch, images, seen).then(() => {
        if (initial) reject(new Error('the watch ended'));
        else void this.#followAgain();
      });
    });
  }

  async #consume(
    watch: QueuedIterator<KvWatchEntry>,
    images: Map<string, Image>,
    seen: (revision: number) => void,
  ): Promise<void> {
    try {
      for await (const entry of watch) {
        this.#take(entry, images);
        seen(entry.revision);
      }
    } catch {
      // the connection says why; the watch is made anew
    }
  }

  async #followAgain(): Promise<void> {
    while (!this.#closed && !this.nc.isClosed()) {
      try {
        return await this.#follow();
      } catch {
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS).unref());
      }
    }
  }

  #take(entry: KvEntry, images: Map<string, Image>): void {
    if (entry.operation !== 'PUT') {
      images.delete(entry.key);
      return;
    }
    try {
      images.set(entry.key, Image.parse(entry.json()));
    } catch (error) {
      images.delete(entry.key);
      this.options.onUnreadable?.(entry.key, error);
    }
  }

  #advance(revision: number): void {
    this.#position = Math.max(this.#position, revision);
    for (const look of [...this.#waiters]) look();
  }

  #reached(revision: number, deadlineMs: number): Promise<void> {
    if (this.#position >= revision) return Promise.resolve();
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#waiters.delete(look);
        resolve();
      };
      const look = (): void => {
        if (this.#position >= revision) done();
      };
      const timer = setTimeout(done, deadlineMs);
      this.#waiters.add(look);
    });
  }
}
