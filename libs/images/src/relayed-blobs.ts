import { OperationError, type Blob } from '#protocol';
import { contentGone, readSmallBlob, writeBlob, type BlobSource, type FetchOptions } from './blob-source';
import { ImageError } from './errors';

/** Asks the image service for the part of a blob that begins where `after` says. @throws OperationError */
export type AskForPart = (digest: string, after: number) => Promise<{ content: string; next: number | null }>;

/** Blobs from the image service, for hosts, which do not reach the object store. */
export class RelayedBlobs implements BlobSource {
  constructor(private readonly ask: AskForPart) {}

  fetch(digest: string, path: string, options: FetchOptions = {}): Promise<Blob> {
    return writeBlob(digest, this.#parts(digest), path, options);
  }

  read(digest: string): Promise<Buffer> {
    return readSmallBlob(digest, this.#parts(digest));
  }

  async *#parts(digest: string): AsyncGenerator<Uint8Array> {
    for (let after: number | null = 0; after !== null;) {
      const { content, next }: Awaited<ReturnType<AskForPart>> = await this.ask(digest, after).catch(
        (error: unknown) => {
          throw asImageError(digest, error);
        },
      );
      after = next;
      if (content !== '') yield Buffer.from(content, 'base64');
    }
  }
}

function asImageError(digest: string, error: unknown): unknown {
  if (!(error instanceof OperationError)) return error;
  if (error.code === 'notFound') return contentGone(digest);
  return new ImageError('storeAway', `${digest} could not be fetched: ${error.message}`);
}
