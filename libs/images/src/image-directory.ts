import type { NatsConnection } from 'nats';
import { LiveBucket } from '#journal';
import { IMAGE_BUCKET, Image } from '#protocol';
import { storeError } from './object-bucket';
import { imageKey } from './image-key';

export interface DirectoryOptions {
  /** Told of entries that are no images; they are skipped. */
  onUnreadable?: (key: string, error: unknown) => void;
}

/**
 * Which image each name stands for: a KV bucket, held in memory, so that a reader asks nobody. A change of another process is
 * seen a moment later; {@link current} waits for those that were made before it was called.
 */
export class ImageDirectory {
  private constructor(private readonly images: LiveBucket<Image>) {}

  /** Opens the directory, and makes its bucket when it is not there. Resolves when it holds what is there now. */
  static async open(nc: NatsConnection, { onUnreadable }: DirectoryOptions = {}): Promise<ImageDirectory> {
    const decode = (json: unknown): Image => Image.parse(json);
    const opening = LiveBucket.open(nc, { name: IMAGE_BUCKET.name, decode, onUnreadable });
    return new ImageDirectory(await stored('the directory of images cannot be opened', opening));
  }

  /** All images and kernels, by name. */
  list(): Image[] {
    return [...this.images.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  get(name: string): Image | undefined {
    return this.images.get(imageKey(name));
  }

  /** As {@link get}, but asks the bucket when the name is not known here: it may have been given just now. */
  async find(name: string): Promise<Image | undefined> {
    return this.get(name) ?? stored(`${name} could not be looked up`, this.images.find(imageKey(name)));
  }

  /** Any image with this digest. */
  withDigest(digest: string): Image | undefined {
    for (const image of this.images.values()) if (image.digest === digest) return image;
    return undefined;
  }

  /** Lets a name stand for an image from now on. */
  async put(image: Image): Promise<void> {
    const change = this.images.update(imageKey(image.name), () => image);
    await stored(`${image.name} could not be named`, change);
  }

  /** Takes a name away. False: it stood for nothing. */
  async remove(name: string): Promise<boolean> {
    let wasThere = false;
    const change = this.images.update(imageKey(name), (now) => {
      wasThere = now !== undefined;
      return undefined;
    });
    await stored(`${name} could not be removed`, change);
    return wasThere;
  }

  /** Resolves when every change that was made before is seen here, or after `deadlineMs`. */
  async current(deadlineMs = 1_000): Promise<this> {
    await stored('the directory of images cannot be read', this.images.current(deadlineMs));
    return this;
  }

  close(): void {
    this.images.close();
  }
}

async function stored<R>(what: string, work: Promise<R>): Promise<R> {
  try {
    return await work;
  } catch (error) {
    throw storeError(error, what);
  }
}
