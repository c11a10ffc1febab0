import type { Image } from '#protocol';
import { parseImageReference } from '#protocol';
import type { BlobStore } from './blob-store';
import { blobsOf, decodeManifest } from './manifests';

export interface CollectOptions {
  images: readonly Image[];
  /** What microVMs that exist were created from: names of images, with their digests. */
  references: Iterable<string>;
  /** What was put or touched later than this, ms since 1970, is left alone: an import may count on it. */
  before: number;
  dryRun: boolean;
}

export interface Collected {
  blobs: number;
  bytes: number;
  kept: number;
}

/**
 * Removes content that no image and no microVM uses, and what broken writers left.
 *
 * @throws ImageError when the store does not answer; what was removed by then stays removed, and nothing that is used was.
 */
export async function collectBlobs(store: BlobStore, options: CollectOptions): Promise<Collected> {
  const { images, references, before, dryRun } = options;
  const blobs = await store.list();
  const used = new Set<string>();
  for (const { digest, manifest } of images) {
    used.add(digest);
    for (const blob of blobsOf(manifest)) used.add(blob.digest);
  }
  const there = new Set(blobs.map(({ name }) => name));
  for (const reference of new Set(references)) {
    const { digest } = parseImageReference(reference);
    if (digest === undefined || used.has(digest) || !there.has(digest)) continue;
    used.add(digest);
    for (const blob of blobsOf(decodeManifest(await store.read(digest)))) used.add(blob.digest);
  }
  const result: Collected = { blobs: 0, bytes: 0, kept: 0 };
  for (const { name, bytes, modifiedAt } of blobs) {
    const free = !used.has(name) && modifiedAt <= before;
    if (free && (dryRun || (await store.removeUnless(name, before)))) {
      result.blobs++;
      result.bytes += bytes;
    } else {
      result.kept++;
    }
  }
  if (!dryRun) await store.sweepUnfinished();
  return result;
}
