import {
  JetStreamApiCodes,
  JetStreamApiError,
  JetStreamError,
  jetstream,
  type JetStreamClient,
  type JetStreamManager,
  type JsMsg,
  type PubAck,
} from '@nats-io/jetstream';
import type { ObjectInfo, ObjectStore } from '@nats-io/obj';
import { headers, nuid, type NatsConnection } from 'nats';
import { openObjects, type BucketOptions } from '#journal';
import type { Blob } from '#protocol';
import { DigestMeter } from './digest';
import { ImageError } from './errors';

export interface StoredObject {
  readonly name: string;
  readonly bytes: number;
  /** `sha256:...`, as its writer computed it. */
  readonly digest: string;
  /** When it was put or touched last, ms since 1970. */
  readonly modifiedAt: number;
}

export interface PutOptions {
  /** Refused, with nothing left behind, unless the content has this digest. */
  expectedDigest?: string;
  /** Refused when there is more. */
  maxBytes?: number;
  signal?: AbortSignal;
  /** Told how many bytes are stored so far. */
  onProgress?: (bytes: number) => void;
}

/** Half of the smallest payload that servers take by default, so that any of them takes it. */
const CHUNK_BYTES = 256 * 1024;
/** Chunks on their way to the server at the same time. */
const IN_FLIGHT = 8;
/** Chunks asked for ahead of the reader. */
const AHEAD = 16;
const REQUEST_MS = 10_000;
/** Silence of a server that owes a chunk. */
const SILENCE_MS = 15_000;
const ROLLUP = 'Nats-Rollup';
const DIGEST_TYPE = 'SHA-256=';

/** An object's entry, as every client of the object store writes it. */
interface Meta {
  name: string;
  description: string;
  options: { max_chunk_size: number };
  bucket: string;
  nuid: string;
  size: number;
  chunks: number;
  mtime: string;
  digest: string;
  deleted: boolean;
}

/**
 * A bucket of the NATS object store, read and written as a stream in the format that all clients share. The client's own `get`
 * takes an object in as fast as the server sends it, into memory, and its `put` waits for every chunk; images are too large for
 * both.
 */
export class ObjectBucket {
  private constructor(
    readonly name: string,
    private readonly store: ObjectStore,
    private readonly js: JetStreamClient,
    private readonly jsm: JetStreamManager,
    private readonly chunkBytes: number,
  ) {}

  /** Opens the bucket, and makes it when it is not there. */
  static async open(nc: NatsConnection, options: BucketOptions): Promise<ObjectBucket> {
    const js = jetstream(nc, { timeout: REQUEST_MS });
    try {
      const { store, jsm } = await openObjects(nc, options);
      const most = Math.floor((nc.info?.max_payload ?? 2 * CHUNK_BYTES) / 2);
      return new ObjectBucket(options.name, store, js, jsm, Math.min(CHUNK_BYTES, most));
    } catch (error) {
      throw storeError(error, `the object store bucket ${options.name} cannot be opened`);
    }
  }

  /**
   * Stores an object under a name in one step: until it is whole and right, readers see the one before, or none.
   *
   * @throws ImageError `wrongDigest`, `tooLarge`, `noSpace`, `cancelled` or `storeAway`; what `source` throws.
   */
  async put(name: string, source: AsyncIterable<Uint8Array>, options: PutOptions = {}): Promise<Blob> {
    const id = nuid.next();
    const before = await this.#info(name);
    let stored: Blob & { chunks: number };
    let replaced: ObjectInfo | null;
    try {
      stored = await this.#putChunks(name, id, source, options);
      const meta: Meta = {
        name,
        description: '',
        options: { max_chunk_size: this.chunkBytes },
        bucket: this.name,
        nuid: id,
        size: stored.bytes,
        chunks: stored.chunks,
        mtime: new Date().toISOString(),
        digest: natsDigest(stored.digest),
        deleted: false,
      };
      replaced = await this.#publish(meta, before);
    } catch (error) {
      await this.#purge(id);
      throw storeError(error, `${name} could not be stored`);
    }
    if (replaced) await this.#purge(replaced.nuid);
    return { digest: stored.digest, bytes: stored.bytes };
  }

  /**
   * Opens an object for reading. Reading ends with `wrongDigest` when what came is not what was stored, and with `storeAway`
   * when something of it is missing. Undefined: there is no such object.
   */
  async get(name: string): Promise<{ object: StoredObject; content: AsyncGenerator<Uint8Array> } | undefined> {
    const info = await this.#info(name);
    if (!info || info.deleted) return undefined;
    return { object: storedObject(info), content: this.#read(info) };
  }

  /**
   * One chunk of an object, for readers that ask for one after the other. `after` is the `next` of the chunk before; 0: the first.
   * `next` null: there is no more. Whether what came is whole is for the reader to check. Undefined: there is no such object.
   */
  async part(name: string, after: number): Promise<{ content: Uint8Array; next: number | null } | undefined> {
    const info = await this.#info(name);
    if (!info || info.deleted) return undefined;
    const subject = `$O.${this.name}.C.${info.nuid}`;
    try {
      const chunk = await this.jsm.direct.getMessage(this.#stream, { seq: after + 1, next_by_subj: subject });
      if (chunk) return { content: chunk.data, next: chunk.seq };
      // A copy of the stream that lags behind may have answered.
      const last = await this.jsm.streams.getMessage(this.#stream, { last_by_subj: subject });
      if (last && last.seq > after) throw new ImageError('storeAway', `${name} is not on every server yet; try again`);
      return { content: new Uint8Array(), next: null };
    } catch (error) {
      throw storeError(error, `${name} could not be read`);
    }
  }

  async stat(name: string): Promise<StoredObject | undefined> {
    const info = await this.#info(name);
    return !info || info.deleted ? undefined : storedObject(info);
  }

  async list(): Promise<StoredObject[]> {
    try {
      return (await this.store.list()).map(storedObject);
    } catch (error) {
      throw storeError(error, `the object store bucket ${this.name} cannot be listed`);
    }
  }

  /** Makes an object as young as one that is put now. False: there is none. */
  async touch(name: string): Promise<boolean> {
    const info = await this.#info(name);
    if (!info || info.deleted) return false;
    try {
      await this.#publishMeta({ ...metaOf(info), mtime: new Date().toISOString() }, info.revision);
      return true;
    } catch (error) {
      if (isConflict(error)) return this.touch(name); // somebody else has just put, touched or removed it
      throw storeError(error, `${name} could not be touched`);
    }
  }

  /** Removes an object. False: there was none. */
  async remove(name: string): Promise<boolean> {
    const info = await this.#info(name);
    if (!info) return false;
    try {
      // Not `delete` of the client, whose marker stays for ever: here nobody watches for it.
      await this.jsm.streams.purge(this.#stream, { filter: this.#metaSubject(name) });
      await this.#purge(info.nuid);
    } catch (error) {
      throw storeError(error, `${name} could not be removed`);
    }
    return !info.deleted;
  }

  /**
   * Removes chunks that no object owns: what writers left that died. Those younger than `olderThanMs` may belong to a writer that
   * is at it. Gives how many objects were begun and never finished.
   */
  async sweepUnfinished(olderThanMs: number): Promise<number> {
    try {
      const subjects = await this.#chunkSubjects();
      const owned = new Set((await this.store.list()).map(({ nuid: id }) => `$O.${this.name}.C.${id}`));
      let swept = 0;
      for (const subject of subjects) {
        if (owned.has(subject)) continue;
        const last = await this.jsm.streams.getMessage(this.#stream, { last_by_subj: subject });
        if (!last || Date.now() - last.time.getTime() < olderThanMs) continue;
        await this.#purgeSubject(subject);
        swept++;
      }
      return swept;
    } catch (error) {
      throw storeError(error, `the object store bucket ${this.name} could not be swept`);
    }
  }

  /** Bytes that the bucket takes on the server's disk. */
  async storedBytes(): Promise<number> {
    return (await this.jsm.streams.info(this.#stream)).state.bytes;
  }

  get #stream(): string {
    return `OBJ_${this.name}`;
  }

  #metaSubject(name: string): string {
    return `$O.${this.name}.M.${padded(Buffer.from(name).toString('base64url'))}`;
  }

  async #info(name: string): Promise<ObjectInfo | null> {
    try {
      return await this.store.info(name);
    } catch (error) {
      throw storeError(error, `${name} could not be looked up`);
    }
  }

  async #putChunks(
    name: string,
    id: string,
    source: AsyncIterable<Uint8Array>,
    { expectedDigest, maxBytes = Infinity, signal, onProgress }: PutOptions,
  ): Promise<Blob & { chunks: number }> {
    const subject = `$O.${this.name}.C.${id}`;
    const meter = new DigestMeter();
    const sending = new Set<Promise<PubAck>>();
    let failed: unknown;
    let chunks = 0;
    const send = async (chunk: Uint8Array): Promise<void> => {
      if (signal?.aborted) throw new ImageError('cancelled', `storing ${name} was given up`);
      while (sending.size >= IN_FLIGHT) await Promise.race(sending);
      if (failed !== undefined) throw failed as Error;
      meter.add(chunk);
      if (meter.bytes > maxBytes) throw new ImageError('tooLarge', `${name} is larger than ${maxBytes} bytes`);
      chunks++;
      const sent = this.js.publish(subject, chunk, { timeout: REQUEST_MS });
      sending.add(sent);
      const stored = meter.bytes;
      sent.then(
        () => {
          sending.delete(sent);
          onProgress?.(stored);
        },
        (error: unknown) => {
          sending.delete(sent);
          failed ??= error;
        },
      );
    };
    try {
      for await (const chunk of rechunked(source, this.chunkBytes)) await send(chunk);
    } finally {
      await Promise.allSettled(sending);
    }
    if (failed !== undefined) throw failed as Error;
    const blob = meter.result();
    if (expectedDigest !== undefined && blob.digest !== expectedDigest) {
      throw new ImageError('wrongDigest', `${name} has the digest ${blob.digest}, not ${expectedDigest}`);
    }
    return { ...blob, chunks };
  }

  async *#read(info: ObjectInfo): AsyncGenerator<Uint8Array> {
    if (info.chunks === 0) return;
    const subject = `$O.${this.name}.C.${info.nuid}`;
    const meter = new DigestMeter();
    let left = info.chunks;
    try {
      for await (const { data } of this.#messages(subject)) {
        meter.add(data);
        left--;
        yield data;
      }
    } catch (error) {
      throw storeError(error, `${info.name} could not be read`);
    }
    if (left > 0) {
      // What the server does not have any more cannot be waited for.
      if ((await this.#chunksOf(info)) < info.chunks) throw damaged(info.name);
      throw new ImageError(
        'storeAway',
        `the image store gave only a part of ${info.name}; try again, or import it again`,
      );
    }
    const { digest, bytes } = meter.result();
    if (natsDigest(digest) !== info.digest || bytes !== info.size) {
      throw damaged(info.name);
    }
  }

  async #chunksOf({ nuid: id, name }: ObjectInfo): Promise<number> {
    const subject = `$O.${this.name}.C.${id}`;
    try {
      const { state } = await this.jsm.streams.info(this.#stream, { subjects_filter: subject });
      return state.subjects?.[subject] ?? 0;
    } catch (error) {
      throw storeError(error, `${name} could not be looked up`);
    }
  }

  /** Makes `meta` the object of its name; gives the one that it replaced, whose chunks are nobody's now. */
  async #publish(meta: Meta, before: ObjectInfo | null): Promise<ObjectInfo | null> {
    for (let current = before; ; current = await this.#info(meta.name)) {
      try {
        await this.#publishMeta(meta, current?.revision ?? 0);
        return current;
      } catch (error) {
        if (!isConflict(error)) throw error; // else another writer was faster: replace that one
      }
    }
  }

  /** Fails when the object's entry is not the one of this revision any more. */
  async #publishMeta(meta: Meta, revision: number): Promise<void> {
    const rollup = headers();
    rollup.set(ROLLUP, 'sub');
    await this.js.publish(this.#metaSubject(meta.name), JSON.stringify(meta), {
      headers: rollup,
      timeout: REQUEST_MS,
      expect: { lastSubjectSequence: revision },
    });
  }

  /** Best effort: what stays is swept later. */
  async #purge(id: string): Promise<void> {
    await this.#purgeSubject(`$O.${this.name}.C.${id}`).catch(() => undefined);
  }

  /**
   * One message after the other: what a server of the 2.9 line purges by subject leaves its disk, but stays on its books, and
   * when those are full it takes nothing any more.
   */
  async #purgeSubject(subject: string): Promise<void> {
    const going = new Set<Promise<unknown>>();
    for await (const { seq } of this.#messages(subject, { headers_only: true })) {
      while (going.size >= IN_FLIGHT) await Promise.race(going);
      const removal = this.jsm.streams.deleteMessage(this.#stream, seq, false).catch(() => undefined);
      going.add(removal);
      void removal.then(() => going.delete(removal));
    }
    await Promise.all(going);
    await this.jsm.streams.purge(this.#stream, { filter: subject });
  }

  /** The messages that a subject has now, in order. Ends early when the server falls silent. */
  async *#messages(subject: string, options: { headers_only?: boolean } = {}): AsyncGenerator<JsMsg> {
    const consumer = await this.js.consumers.get(this.#stream, { filter_subjects: subject, ...options });
    let left = (await consumer.info(true)).num_pending;
    if (left === 0) return;
    const messages = await consumer.consume({ max_messages: AHEAD, expires: 2_000 });
    // The client waits for ever for a server that went away.
    let timer: NodeJS.Timeout | undefined;
    const arm = (): void => void (timer = setTimeout(() => messages.stop(), SILENCE_MS));
    try {
      arm();
      for await (const message of messages) {
        clearTimeout(timer);
        yield message;
        left--;
        if (left === 0 || message.info.pending === 0) return;
        arm();
      }
    } finally {
      clearTimeout(timer);
      messages.stop();
      consumer.delete().catch(() => undefined);
    }
  }

  async #chunkSubjects(): Promise<string[]> {
    const { state } = await this.jsm.streams.info(this.#stream, { subjects_filter: `$O.${this.name}.C.>` });
    return Object.keys(state.subjects ?? {});
  }
}

function damaged(name: string): ImageError {
  return new ImageError('wrongDigest', `${name} is damaged in the image store; import it again`);
}

/** Chunks of exactly `size` bytes, and a last one of what is left. */
async function* rechunked(source: AsyncIterable<Uint8Array>, size: number): AsyncGenerator<Uint8Array> {
  let parts: Uint8Array[] = [];
  let held = 0;
  for await (const chunk of source) {
    let rest = chunk;
    while (held + rest.length >= size) {
      const take = size - held;
      yield parts.length === 0 ? rest.subarray(0, take) : Buffer.concat([...parts, rest.subarray(0, take)]);
      rest = rest.subarray(take);
      parts = [];
      held = 0;
    }
    // A copy: the source may use its buffer again.
    if (rest.length > 0) parts.push(Buffer.from(rest));
    held += rest.length;
  }
  if (held > 0) yield Buffer.concat(parts);
}

function storedObject(info: ObjectInfo): StoredObject {
  const hex = Buffer.from(info.digest.slice(DIGEST_TYPE.length), 'base64url').toString('hex');
  return { name: info.name, bytes: info.size, digest: `sha256:${hex}`, modifiedAt: Date.parse(info.mtime) };
}

function metaOf(info: ObjectInfo): Meta {
  const { name, description = '', bucket, nuid: id, size, chunks, mtime, digest, deleted } = info;
  const max_chunk_size = info.options?.max_chunk_size ?? CHUNK_BYTES;
  return { name, description, options: { max_chunk_size }, bucket, nuid: id, size, chunks, mtime, digest, deleted };
}

/** Clients of the object store write digests in padded base64url. */
function natsDigest(digest: string): string {
  return `${DIGEST_TYPE}${padded(Buffer.from(digest.slice('sha256:'.length), 'hex').toString('base64url'))}`;
}

function padded(text: string): string {
  return text.padEnd(Math.ceil(text.length / 4) * 4, '=');
}

/** What the server answers when its disk, or its share of it, is full. */
const NO_SPACE = [10047, 10077, 10023, 10028, 10002];

function isConflict(error: unknown): boolean {
  return error instanceof JetStreamApiError && error.code === JetStreamApiCodes.StreamWrongLastSequence;
}

/** Makes an {@link ImageError} of what JetStream says; what a source throws stays as it is. */
export function storeError(error: unknown, doing: string): unknown {
  if (error instanceof JetStreamApiError) {
    if (NO_SPACE.includes(error.code) || /insufficient|maximum bytes|resource/i.test(error.message)) {
      return new ImageError('noSpace', `${doing}: the NATS server has no room left (${error.message})`);
    }
    return new ImageError('storeAway', `${doing}: ${error.message}`);
  }
  if (error instanceof JetStreamError || isNatsError(error)) {
    return new ImageError('storeAway', `${doing}: NATS does not answer (${(error as Error).message})`);
  }
  return error;
}

function isNatsError(error: unknown): boolean {
  return (
    error instanceof Error &&
    /^(TimeoutError|NoRespondersError|ClosedConnectionError|DrainingConnectionError|RequestError|ConnectionError)$/.test(
      error.name,
    )
  );
}
