import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { writeWorkingSet } from '#microvm';
import { blobOfFile, digestOf, entriesOf, explained, writePiece } from '#images';
import { canonicalJson, OperationError, PIECE_BYTES, type TemplateContent, type TemplateManifest } from '#protocol';
import { pause } from '../images/shared-work';
import type { TemplateExchange } from './template-exchange';
import { TemplateLostError, TemplateUnavailableError, type HeldTemplate, type TemplateStore } from './template-store';

/** Pieces asked for at the same time. */
const AT_ONCE = 4;
/** First and longest wait before something is asked for again that did not come, ms. */
const RETRY_MS = { first: 250, most: 5_000 };

export interface WantedTemplate {
  templateId: string;
  /** Of its manifest. */
  digest: string;
}

type File = TemplateManifest['files'][number];

/**
 * Brings a template here from the object store. Nothing of what comes is believed: each piece and each file has to have its digest, and the
 * manifest the one that was asked for. What does not come is asked for again until `signal` is aborted; then nothing is left.
 *
 * @throws TemplateUnavailableError (TemplateLostError where nothing is left to ask for), SnapshotStorageError, ImageError `cancelled` or `noSpace`.
 */
export async function fetchTemplate(
  exchange: TemplateExchange,
  store: TemplateStore,
  { templateId, digest }: WantedTemplate,
  signal: AbortSignal,
): Promise<HeldTemplate> {
  const fetching = new Fetching(exchange, signal);
  const sentence = (why: string): string => `template ${templateId} is not on this host, and cannot be fetched: ${why}`;
  try {
    const content = await fetching.ask(() => exchange.content(templateId, digest));
    const { manifest } = content;
    if (manifest.templateId !== templateId || digestOf(canonicalJson(manifest)) !== digest) {
      throw new TemplateUnavailableError(sentence('what the object store has is another one'));
    }
    const pieces = new Map<string, (string | undefined)[]>();
    let bytes = 0;
    for (const file of manifest.files) {
      const ofFile = await fetching.piecesOf(file, content);
      pieces.set(file.name, ofFile);
      for (const [index, piece] of ofFile.entries()) if (piece !== undefined) bytes += sizeOf(file, index);
    }
    const draft = await store.begin(templateId, bytes);
    try {
      for (const file of manifest.files) await fetching.write(join(draft, file.name), file, pieces.get(file.name)!);
      await fetching.workingSet(draft, { templateId, digest });
      return await store.takeIn(draft, manifest);
    } catch (error) {
      await store.abandon(templateId);
      throw explained(error, `fetching template ${templateId}`);
    }
  } catch (error) {
    if (error instanceof OperationError && error.code === 'notFound')
      throw new TemplateLostError(sentence(error.message));
    throw error;
  }
}

class Fetching {
  constructor(
    private readonly exchange: TemplateExchange,
    private readonly signal: AbortSignal,
  ) {}

  /** Digests of the pieces of a file; undefined: zeros. */
  async piecesOf({ name, blob }: File, { tables }: TemplateContent): Promise<(string | undefined)[]> {
    const pieces: (string | undefined)[] = [];
    for (const table of tables.find((one) => one.name === name)?.pieces ?? []) {
      pieces.push(...entriesOf(await this.#piece(table)));
    }
    if (pieces.length === Math.ceil(blob.bytes / PIECE_BYTES)) return pieces;
    throw new TemplateUnavailableError(`what the object store tells of its file ${name} does not fit its size`);
  }

  async write(path: string, of: File, pieces: readonly (string | undefined)[]): Promise<void> {
    const { name, blob } = of;
    const file = await open(path, 'wx', 0o600);
    try {
      await file.truncate(blob.bytes);
      // All take from one generator, which the first that fails ends for the others, too.
      const left = storedOf(pieces);
      const worker = async (): Promise<void> => {
        for (const [index, digest] of left) {
          this.signal.throwIfAborted();
          const content = await this.#piece(digest);
          if (content.length !== sizeOf(of, index)) {
            throw new TemplateUnavailableError(`a piece of its file ${name} has the wrong size`);
          }
          await writePiece(file, content, index * PIECE_BYTES);
        }
      };
      await Promise.all(Array.from({ length: AT_ONCE }, worker));
      await file.datasync();
    } finally {
      await file.close();
    }
    const { digest } = await blobOfFile(path, this.signal);
    if (digest !== blob.digest) throw new TemplateUnavailableError(`its file ${name} is damaged in the object store`);
  }

  /** Asked for once, and done without where it does not come or is none of this memory: it is a hint, and clones do not wait for it. */
  async workingSet(draft: string, { templateId, digest }: WantedTemplate): Promise<void> {
    try {
      const told = await this.exchange.workingSet(templateId, digest);
      if (told) await writeWorkingSet(draft, told);
    } catch {
      // The first clone here writes one down.
    }
  }

  async #piece(digest: string): Promise<Buffer> {
    const content = await this.ask(() => this.exchange.piece(digest));
    if (digestOf(content) === digest) return content;
    throw new TemplateUnavailableError(`its piece ${digest} is damaged in the object store`);
  }

  /** Asks until there is an answer. */
  async ask<T>(question: () => Promise<T>): Promise<T> {
    for (let waitMs = RETRY_MS.first; ; waitMs = Math.min(2 * waitMs, RETRY_MS.most)) {
      this.signal.throwIfAborted();
      try {
        return await question();
      } catch (error) {
        if (!(error instanceof OperationError) || !['unavailable', 'timeout', 'overloaded'].includes(error.code))
          throw error;
        await pause(waitMs, this.signal);
      }
    }
  }
}

/** The pieces that are not zeros, with their numbers. */
function* storedOf(pieces: readonly (string | undefined)[]): Generator<[index: number, digest: string]> {
  for (const [index, digest] of pieces.entries()) if (digest !== undefined) yield [index, digest];
}

/** Of one piece of a file. */
function sizeOf({ blob }: File, index: number): number {
  return Math.min(PIECE_BYTES, blob.bytes - index * PIECE_BYTES);
}
