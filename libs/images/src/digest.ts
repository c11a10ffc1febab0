import { createHash, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import type { Blob } from '#protocol';

/** `sha256:` and 64 hexadecimal digits, of these bytes. */
export function digestOf(bytes: Uint8Array | string): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/** Digest and size of a file, read once, never whole in memory. */
export async function blobOfFile(path: string, signal?: AbortSignal): Promise<Blob> {
  const meter = new DigestMeter();
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20, ...(signal ? { signal } : {}) })) {
    meter.add(chunk as Buffer);
  }
  return meter.result();
}

/** Digest and size of what flows past. */
export class DigestMeter {
  readonly #hash: Hash = createHash('sha256');
  #bytes = 0;

  get bytes(): number {
    return this.#bytes;
  }

  add(chunk: Uint8Array): void {
    this.#bytes += chunk.length;
    this.#hash.update(chunk);
  }

  /** May be asked for once. */
  result(): Blob {
    return { digest: `sha256:${this.#hash.digest('hex')}`, bytes: this.#bytes };
  }
}
