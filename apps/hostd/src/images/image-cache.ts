import { readFile } from 'node:fs/promises';
import type { Logger } from 'pino';
import { blobsOf, decodeManifest, ImageError, type BlobSource } from '#images';
import type { Blob, ImageManifest } from '#protocol';
import { BlobFolder } from './blob-folder';
import { pause, SharedWork, unlessAborted } from './shared-work';

export interface ImageCacheOptions {
  folder: string;
  /** What the files of images may take, in bytes. */
  maxBytes: number;
  /** Digests of the manifests of images that microVMs here run, or may be started of again. */
  inUse: () => Iterable<string>;
  log: Logger;
  /** First and longest wait before something is asked for again that the store did not give, in ms. */
  retryMs?: { first: number; most: number };
}

/** An image whose files are all here. */
export interface CachedImage {
  manifest: ImageManifest;
  pathOf(blob: Blob): string;
}

const MIB = 1 << 20;

/**
 * The images of this host: fetched from the image store when first needed, checked by their digests, and dropped, the longest unused
 * first, when others need the room. What a microVM here uses is never dropped. Works without the store for what is here.
 */
export class ImageCache {
  readonly #blobs: BlobFolder;
  readonly #fetching = new SharedWork<string>();
  /** Manifest -> the blobs it names, for those seen since the start. */
  readonly #named = new Map<string, readonly string[]>();
  /** Blobs that an {@link ensure} under way counts on. */
  readonly #held = new Map<string, number>();
  readonly #retryMs: { first: number; most: number };
  #source!: Promise<BlobSource>;
  #connect!: (source: BlobSource) => void;

  constructor(private readonly options: ImageCacheOptions) {
    this.#blobs = new BlobFolder(options.folder);
    this.#retryMs = options.retryMs ?? { first: 500, most: 10_000 };
    this.#source = new Promise((resolve) => (this.#connect = resolve));
  }

  /** Bytes that the files of images take. */
  get bytes(): number {
    return this.#blobs.bytes;
  }

  /** Says where images come from. Until then, what is not here is waited for. */
  connect(source: BlobSource): void {
    this.#connect(source);
    this.#source = Promise.resolve(source);
  }

  /**
   * Brings an image here, or finds it here. Any number may ask for the same one at the same time. Goes on trying while the store does
   * not answer, until `signal` is aborted.
   *
   * @throws ImageError `contentGone`, `wrongDigest`, `noSpace`, `tooLarge`, `corrupted` or `cancelled`.
   */
  async ensure(digest: string, signal: AbortSignal): Promise<CachedImage> {
    const release = this.#hold([digest]);
    let releaseBlobs = (): void => undefined;
    try {
      const manifest = decodeManifest(await readFile(await this.#bring({ digest, bytes: 0 }, signal)));
      const blobs = blobsOf(manifest);
      const digests = blobs.map((blob) => blob.digest);
      this.#named.set(digest, digests);
      releaseBlobs = this.#hold(digests);
      await this.#makeRoom(blobs);
      for (const blob of blobs) await this.#bring(blob, signal);
      return { manifest, pathOf: (blob) => this.#blobs.pathOf(blob.digest) };
    } finally {
      release();
      releaseBlobs();
    }
  }

  /** Digests of the images that were used since the start and are all here. */
  complete(): string[] {
    const isHere = (digest: string): boolean => this.#blobs.has(digest);
    return [...this.#named]
      .filter(([digest, blobs]) => isHere(digest) && blobs.every(isHere))
      .map(([digest]) => digest);
  }

  /** The manifest of an image, if it is here; asks nobody. */
  async peek(digest: string): Promise<ImageManifest | undefined> {
    if (!this.#blobs.has(digest)) return undefined;
    try {
      return decodeManifest(await readFile(this.#blobs.pathOf(digest)));
    } catch {
      return undefined;
    }
  }

  async #bring(blob: Blob, signal: AbortSignal): Promise<string> {
    const { digest } = blob;
    const known = this.#blobs.has(digest);
    const here = await this.#blobs.use(digest, signal);
    if (here !== undefined) return here;
    if (known) this.options.log.error({ digest }, 'a file of an image was damaged; it is fetched again');
    return this.#fetching.join(digest, signal, (shared) => this.#fetch(blob, shared));
  }

  async #fetch({ digest }: Blob, signal: AbortSignal): Promise<string> {
    const { log } = this.options;
    const startedMs = performance.now();
    let madeRoom = false;
    for (let waitMs = this.#retryMs.first; ; waitMs = Math.min(2 * waitMs, this.#retryMs.most)) {
      const source = await unlessAborted(this.#source, signal);
      try {
        const path = await this.#blobs.add(digest, (draft) => source.fetch(digest, draft, { signal }));
        log.info({ digest, ms: Math.round(performance.now() - startedMs) }, 'a file of an image was fetched');
        return path;
      } catch (error) {
        const failure = error instanceof ImageError ? error.failure : undefined;
        if (failure === 'noSpace' && !madeRoom) {
          madeRoom = true;
          await this.#dropUnused(() => true);
          continue;
        }
        if (failure !== 'storeAway') throw error;
        log.warn({ digest, reason: (error as Error).message, waitMs }, 'the image store does not answer; asking again');
        await pause(waitMs, signal);
      }
    }
  }

  /** Drops what is unused for longest until the missing ones of `blobs` fit. @throws ImageError `noSpace` or `tooLarge` */
  async #makeRoom(blobs: readonly Blob[]): Promise<void> {
    const { maxBytes } = this.options;
    const needed = blobs.reduce((sum, { bytes }) => sum + bytes, 0);
    const mib = (bytes: number): string => `${Math.ceil(bytes / MIB)} MiB`;
    if (needed > maxBytes) {
      const message = `the image takes ${mib(needed)} and this host keeps at most ${mib(maxBytes)} of images (VOLLEY_IMAGE_CACHE_MIB)`;
      throw new ImageError('tooLarge', message);
    }
    const missing = (): number =>
      blobs.filter(({ digest }) => !this.#blobs.has(digest)).reduce((sum, { bytes }) => sum + bytes, 0);
    const fits = (): boolean => this.#blobs.bytes + missing() <= maxBytes;
    if (fits()) return;
    await this.#dropUnused(() => !fits());
    if (fits()) return;
    throw new ImageError(
      'noSpace',
      `this host has no room for the image: its microVMs use ${mib(this.#blobs.bytes)} of the ${mib(maxBytes)} it keeps of images`,
    );
  }

  async #dropUnused(more: () => boolean): Promise<void> {
    const used = await this.#used();
    for (const { digest, bytes } of this.#blobs.byAge()) {
      if (!more()) return;
      if (used.has(digest) || this.#held.has(digest)) continue;
      await this.#blobs.remove(digest);
      this.options.log.info({ digest, bytes }, 'a file of an image was dropped to make room');
    }
  }

  async #used(): Promise<Set<string>> {
    const used = new Set<string>();
    for (const digest of new Set(this.options.inUse())) {
      used.add(digest);
      if (!this.#named.has(digest)) {
        const manifest = await this.peek(digest);
        if (manifest)
          this.#named.set(
            digest,
            blobsOf(manifest).map((blob) => blob.digest),
          );
      }
      for (const blob of this.#named.get(digest) ?? []) used.add(blob);
    }
    return used;
  }

  #hold(digests: readonly string[]): () => void {
    for (const digest of digests) this.#held.set(digest, (this.#held.get(digest) ?? 0) + 1);
    return () => {
      for (const digest of digests) {
        const left = this.#held.get(digest)! - 1;
        if (left === 0) this.#held.delete(digest);
        else this.#held.set(digest, left);
      }
    };
  }
}
