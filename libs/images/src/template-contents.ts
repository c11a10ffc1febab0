import { Readable } from 'node:stream';
import type { NatsConnection } from 'nats';
import { KeyedQueue, Pacer } from '#concurrency';
import { z } from 'zod';
import {
  Digest,
  PIECE_BYTES,
  PIECES_ASKED_MOST,
  TEMPLATE_CONTENT_BUCKET,
  TemplateContent,
  TemplateId,
  WorkingSet,
} from '#protocol';
import { digestOf } from './digest';
import { ImageError } from './errors';
import { ObjectBucket } from './object-bucket';
import { entriesOf } from './pieces';

export interface TemplateContentsOptions {
  /** What all templates together may take of the server's disk. */
  maxBytes: number;
  /** What no template has named, and nobody has put or asked for, for so long, is nobody's. Default: 5 minutes. */
  graceMs?: number;
}

/** How the working set of a template is named beside what it consists of. */
const WORKING_SET = '.working-set';
/** With the digest of the template's manifest. */
const StoredWorkingSet = z.strictObject({ digest: Digest, workingSet: WorkingSet });
type StoredWorkingSet = z.output<typeof StoredWorkingSet>;
const GRACE_MS = 300_000;
const AT_ONCE = 8;
const MIB = 1 << 20;
/** What the bucket takes is asked for anew after so long. */
const SIZE_KNOWN_MS = 1_000;

/**
 * Templates in the object store: pieces by digest, which templates share, and for each template what it consists of. A template is there
 * when all of it is. Any number of processes may write and read, one is to sweep.
 */
export class TemplateContents {
  /** Of two that write or remove one piece here, one waits for the other. */
  readonly #turns = new KeyedQueue();
  readonly #pacer = new Pacer(AT_ONCE);
  readonly #graceMs: number;
  #size = { bytes: 0, at: -Infinity };

  private constructor(
    private readonly bucket: ObjectBucket,
    private readonly options: TemplateContentsOptions,
  ) {
    this.#graceMs = options.graceMs ?? GRACE_MS;
  }

  static async open(nc: NatsConnection, options: TemplateContentsOptions): Promise<TemplateContents> {
    return new TemplateContents(await ObjectBucket.open(nc, TEMPLATE_CONTENT_BUCKET), options);
  }

  /** Which of these pieces are not there. The others are kept from now on as if they had been put. @throws ImageError `storeAway` */
  async lacking(digests: readonly string[]): Promise<string[]> {
    const there = await Promise.all(
      digests.map((digest) => this.#pacer.run(() => this.#turns.run(digest, () => this.#renew(digest)))),
    );
    return digests.filter((_, i) => !there[i]);
  }

  /** Stores a piece; gives its digest. @throws ImageError `tooLarge`, `noSpace` or `storeAway` */
  async put(content: Buffer): Promise<string> {
    if (content.length > PIECE_BYTES) throw new ImageError('tooLarge', `a piece has at most ${PIECE_BYTES} bytes`);
    await this.#requireRoom(content.length);
    const digest = digestOf(content);
    await this.#turns.run(digest, () => this.bucket.put(digest, Readable.from([content]), { expectedDigest: digest }));
    return digest;
  }

  /** A piece, as it is stored; whether it is the right one is for the reader to check. @throws ImageError `contentGone` or `storeAway` */
  async piece(digest: string): Promise<Buffer> {
    const first = await this.bucket.part(digest, 0);
    if (!first) throw gone(`the piece ${digest} of a template`);
    const parts = [first.content];
    // A server that takes small messages only has it in several.
    for (let { next } = first; next !== null && sum(parts) < PIECE_BYTES;) {
      const part = await this.bucket.part(digest, next);
      if (!part) break;
      if (part.content.length > 0) parts.push(part.content);
      ({ next } = part);
    }
    return Buffer.concat(parts);
  }

  /**
   * Makes a template of pieces that were put. Gives those that are lacking, or might be swept before long: the template counts only when
   * there are none. Asked again it does the same.
   *
   * @throws ImageError `corrupted`, `noSpace` or `storeAway`.
   */
  async publish(content: TemplateContent): Promise<string[]> {
    const { templateId } = content.manifest;
    const text = Buffer.from(JSON.stringify(content));
    await this.#requireRoom(text.length);
    await this.bucket.put(templateId, Readable.from([text]));
    const fresh = Date.now() - this.#graceMs / 2;
    const kept = new Set((await this.bucket.list()).flatMap((one) => (one.modifiedAt >= fresh ? [one.name] : [])));
    const lacking = new Set<string>();
    for (const table of tablesIn(content)) {
      if (!kept.has(table)) lacking.add(table);
      else for (const piece of await this.#piecesIn(table)) if (!kept.has(piece)) lacking.add(piece);
    }
    return [...lacking].slice(0, PIECES_ASKED_MOST);
  }

  /** What a template consists of; undefined: it is not there. @throws ImageError `corrupted`, `wrongDigest` or `storeAway` */
  async content(templateId: string): Promise<TemplateContent | undefined> {
    const found = await this.bucket.get(templateId);
    if (!found) return undefined;
    return parsed(TemplateContent, found.content, `template ${templateId}`);
  }

  /** Stores what clones of a template touch first, in place of what was told before. @throws ImageError `noSpace` or `storeAway` */
  async putWorkingSet(templateId: string, told: StoredWorkingSet): Promise<void> {
    const text = Buffer.from(JSON.stringify(told));
    await this.#requireRoom(text.length);
    await this.bucket.put(templateId + WORKING_SET, Readable.from([text]));
  }

  /** What clones of the template of this digest touch first; undefined: nobody has told. @throws ImageError `corrupted`, `wrongDigest` or `storeAway` */
  async workingSet(templateId: string, digest: string): Promise<WorkingSet | undefined> {
    const found = await this.bucket.get(templateId + WORKING_SET);
    if (!found) return undefined;
    const told = await parsed(StoredWorkingSet, found.content, `the working set of template ${templateId}`);
    return told.digest === digest ? told.workingSet : undefined;
  }

  /**
   * Removes the templates that are not wanted, and pieces that none has. Gives how many of each went.
   *
   * @throws ImageError `storeAway`: what was removed by then stays removed, and nothing that is used was.
   */
  async sweep(isWanted: (templateId: string) => boolean): Promise<{ templates: number; pieces: number }> {
    const before = Date.now() - this.#graceMs;
    const objects = await this.bucket.list();
    const used = new Set<string>();
    const swept = { templates: 0, pieces: 0 };
    for (const { name } of objects) {
      if (name.endsWith(WORKING_SET) && !isWanted(name.slice(0, -WORKING_SET.length))) await this.bucket.remove(name);
      if (!TemplateId.safeParse(name).success) continue;
      const content = isWanted(name) ? await this.content(name).catch(unlessAway) : undefined;
      if (content) for (const digest of await this.#all(content)) used.add(digest);
      else if (await this.bucket.remove(name)) swept.templates++;
    }
    for (const { name, modifiedAt } of objects) {
      if (modifiedAt > before || used.has(name) || !name.startsWith('sha256:')) continue;
      if (await this.#turns.run(name, () => this.#removeUnless(name, before))) swept.pieces++;
    }
    await this.bucket.sweepUnfinished(this.#graceMs);
    return swept;
  }

  /** All that a template needs. Of a table that is not there, nothing: then the template cannot be fetched anyway. */
  async #all(content: TemplateContent): Promise<string[]> {
    const digests: string[] = [];
    for (const table of tablesIn(content)) {
      digests.push(table, ...((await this.#piecesIn(table).catch(unlessAway)) ?? []));
    }
    return digests;
  }

  async #piecesIn(table: string): Promise<string[]> {
    return entriesOf(await this.piece(table)).filter((digest) => digest !== undefined);
  }

  async #renew(digest: string): Promise<boolean> {
    const there = await this.bucket.stat(digest);
    if (!there) return false;
    return there.modifiedAt > Date.now() - this.#graceMs / 4 || this.bucket.touch(digest);
  }

  async #removeUnless(digest: string, before: number): Promise<boolean> {
    const there = await this.bucket.stat(digest);
    return there !== undefined && there.modifiedAt <= before && this.bucket.remove(digest);
  }

  async #requireRoom(bytes: number): Promise<void> {
    const now = performance.now();
    if (now - this.#size.at > SIZE_KNOWN_MS) this.#size = { bytes: await this.bucket.storedBytes(), at: now };
    this.#size.bytes += bytes;
    if (this.#size.bytes <= this.options.maxBytes) return;
    const most = Math.floor(this.options.maxBytes / MIB);
    const message = `the object store keeps at most ${most} MiB of templates: delete some, or raise VOLLEY_TEMPLATE_STORE_MIB`;
    throw new ImageError('noSpace', message);
  }
}

/** @throws ImageError `corrupted`, and what reading throws */
async function parsed<Schema extends z.ZodType>(
  schema: Schema,
  content: AsyncIterable<Uint8Array>,
  what: string,
): Promise<z.output<Schema>> {
  const parts: Uint8Array[] = [];
  for await (const chunk of content) parts.push(chunk);
  try {
    return schema.parse(JSON.parse(Buffer.concat(parts).toString('utf8')));
  } catch {
    throw new ImageError('corrupted', `what the object store has of ${what} is not understood`);
  }
}

function tablesIn({ tables }: TemplateContent): string[] {
  return tables.flatMap(({ pieces }) => pieces);
}

function unlessAway(error: unknown): undefined {
  if (error instanceof ImageError && error.failure !== 'storeAway') return undefined;
  throw error;
}

function gone(what: string): ImageError {
  return new ImageError('contentGone', `the object store does not hold ${what} any more`);
}

const sum = (parts: readonly Uint8Array[]): number => parts.reduce((bytes, { length }) => bytes + length, 0);
