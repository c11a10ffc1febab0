import { mkdirSync, readdirSync, rmSync, statSync, utimesSync } from 'node:fs';
import { chmod, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { blobOfFile, ImageError } from '#images';
import type { Blob } from '#protocol';

interface Entry {
  bytes: number;
  /** ms since 1970. */
  usedAt: number;
  /** Its content was compared with its digest since this process began. */
  verified: boolean;
}

/**
 * Content by digest, as files that are whole when they are there. What was used last is remembered as the time of the file, so a later
 * agent knows it too. Does not decide what stays; see {@link ImageCache}.
 */
export class BlobFolder {
  readonly #entries = new Map<string, Entry>();
  readonly #files: string;
  readonly #drafts: string;
  #drafted = 0;

  constructor(readonly path: string) {
    this.#files = join(path, 'blobs');
    this.#drafts = join(path, 'drafts');
    rmSync(this.#drafts, { recursive: true, force: true }); // what an agent that died has left half
    for (const folder of [this.#files, this.#drafts]) mkdirSync(folder, { recursive: true, mode: 0o700 });
    for (const name of readdirSync(this.#files)) {
      if (!/^[0-9a-f]{64}$/.test(name)) continue;
      const { size, mtimeMs } = statSync(join(this.#files, name));
      this.#entries.set(`sha256:${name}`, { bytes: size, usedAt: mtimeMs, verified: false });
    }
  }

  get bytes(): number {
    let sum = 0;
    for (const { bytes } of this.#entries.values()) sum += bytes;
    return sum;
  }

  has(digest: string): boolean {
    return this.#entries.has(digest);
  }

  pathOf(digest: string): string {
    return join(this.#files, digest.slice('sha256:'.length));
  }

  /** Digests and sizes, the longest unused first. */
  byAge(): { digest: string; bytes: number }[] {
    return [...this.#entries]
      .sort(([, a], [, b]) => a.usedAt - b.usedAt)
      .map(([digest, { bytes }]) => ({ digest, bytes }));
  }

  /**
   * The file of a blob that is here and is what it should be, noted as used now. What has been damaged since it was written is
   * removed and, as what was never here, undefined. Content is read once for each start of the agent.
   */
  async use(digest: string, signal?: AbortSignal): Promise<string | undefined> {
    const entry = this.#entries.get(digest);
    if (!entry) return undefined;
    const path = this.pathOf(digest);
    if (!entry.verified) {
      const found = await blobOfFile(path, signal).catch((error: NodeJS.ErrnoException) => {
        if (error.name === 'AbortError') throw new ImageError('cancelled', 'checking an image was given up');
        return undefined; // gone, or on a part of the disk that cannot be read
      });
      if (found?.digest !== digest) {
        await this.remove(digest);
        return undefined;
      }
      entry.verified = true;
    }
    entry.usedAt = Date.now();
    utimesSync(path, entry.usedAt / 1000, entry.usedAt / 1000);
    return path;
  }

  /** Takes in what `write` puts into a new file and says the digest of. Nothing stays when it fails. */
  async add(digest: string, write: (path: string) => Promise<Blob>): Promise<string> {
    const draft = join(this.#drafts, String(++this.#drafted));
    const path = this.pathOf(digest);
    try {
      const { bytes } = await write(draft);
      await chmod(draft, 0o400);
      await rename(draft, path);
      this.#entries.set(digest, { bytes, usedAt: Date.now(), verified: true });
      return path;
    } finally {
      await rm(draft, { force: true });
    }
  }

  async remove(digest: string): Promise<void> {
    this.#entries.delete(digest);
    await rm(this.pathOf(digest), { force: true });
  }
}
