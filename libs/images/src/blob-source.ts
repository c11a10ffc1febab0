import { open, rm } from 'node:fs/promises';
import type { Blob } from '#protocol';
import { digestOf, DigestMeter } from './digest';
import { explained, ImageError } from './errors';

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

/** Writes content into a new file. @throws ImageError, as {@link BlobSource.fetch} */
export async function writeBlob(
  digest: string,
  content: AsyncIterable<Uint8Array>,
  path: string,
  { signal, onProgress }: FetchOptions = {},
): Promise<Blob> {
  const meter = new DigestMeter();
  const file = await open(path, 'wx', 0o600);
  try {
    for await (const chunk of content) {
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

/** @throws ImageError `tooLarge` or `wrongDigest` */
export async function readSmallBlob(digest: string, content: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of content) {
    bytes += chunk.length;
    if (bytes > SMALL_BYTES)
      throw new ImageError('tooLarge', `${digest} has more than ${SMALL_BYTES} bytes: no manifest`);
    parts.push(chunk);
  }
  const whole = Buffer.concat(parts);
  if (digestOf(whole) !== digest) throw damaged(digest);
  return whole;
}

export function contentGone(digest: string): ImageError {
  return new ImageError('contentGone', `the image store does not hold ${digest} any more; import the image again`);
}

function damaged(digest: string): ImageError {
  return new ImageError('wrongDigest', `what it has as ${digest} is damaged in the image store; import it again`);
}
