import { join } from 'node:path';
import type { Logger } from 'pino';
import { DigestMeter, piecesOf, tablesOf } from '#images';
import { PIECES_ASKED_MOST, type TemplateContent } from '#protocol';
import type { TemplateExchange } from './template-exchange';
import type { HeldTemplate, TemplateStore } from './template-store';

/** After a failure a template is not tried again sooner than this, ms. */
const RETRY_MS = 30_000;
/** Pieces that were there may be swept while others are sent; they are sent anew, but not for ever. */
const ROUNDS = 5;

export interface Publication {
  templateId: string;
  /** Why it failed; null: the object store has it. */
  problem: string | null;
}

/**
 * Sends templates of this host to the object store, one after the other, so that what runs here hardly notices. Pieces of zeros are not
 * sent, nor those that are there already: what broke off goes on where it was.
 */
export class TemplatePublisher {
  readonly #queue: string[] = [];
  readonly #failedAt = new Map<string, number>();
  readonly #stopping = new AbortController();
  #working = false;

  constructor(
    private readonly parts: {
      store: Pick<TemplateStore, 'get'>;
      exchange: TemplateExchange;
      /** Told of every outcome. */
      over: (publication: Publication) => void;
      log: Logger;
    },
  ) {}

  /** These are to be published, unless they are at it or failed just now. */
  want(templateIds: readonly string[]): void {
    const soon = performance.now() - RETRY_MS;
    for (const id of templateIds) {
      if (this.#queue.includes(id) || (this.#failedAt.get(id) ?? -Infinity) > soon) continue;
      this.#queue.push(id);
    }
    if (!this.#working) void this.#work();
  }

  /** Breaks off; what was sent stays for a while, for the next time. */
  stop(): void {
    this.#stopping.abort();
  }

  async #work(): Promise<void> {
    this.#working = true;
    try {
      for (let id = this.#queue[0]; id !== undefined && !this.#stopping.signal.aborted; id = this.#queue[0]) {
        await this.#publishOne(id);
        this.#queue.shift();
      }
    } finally {
      // In the same breath as the last look into the queue: what is wanted from now on is worked on anew.
      this.#working = false;
    }
  }

  async #publishOne(id: string): Promise<void> {
    const { store, log, over } = this.parts;
    const startedMs = performance.now();
    try {
      const held = store.get(id);
      if (!held) return;
      const sent = await this.#publish(held);
      this.#failedAt.delete(id);
      log.info({ templateId: id, sent, ms: Math.round(performance.now() - startedMs) }, 'a template was published');
      over({ templateId: id, problem: null });
    } catch (error) {
      if (this.#stopping.signal.aborted) return;
      this.#failedAt.set(id, performance.now());
      log.warn({ err: error, templateId: id }, 'a template could not be published');
      over({ templateId: id, problem: (error as Error).message });
    }
  }

  /** Gives how many pieces were sent. */
  async #publish(held: HeldTemplate): Promise<number> {
    const { exchange } = this.parts;
    const { templateId } = held.manifest;
    const digests = await this.#digestsOf(held);
    const tables = new Map([...digests].map(([name, pieces]) => [name, tablesOf(pieces)]));
    let sent = 0;
    for (let round = 0; round < ROUNDS; round++) {
      sent += await this.#send(held, digests);
      const content: TemplateContent = { schema: 1, manifest: held.manifest, tables: [] };
      for (const [name, ofFile] of tables) {
        const pieces: string[] = [];
        for (const table of ofFile) pieces.push(await exchange.put(templateId, table));
        content.tables.push({ name, pieces });
      }
      if ((await exchange.publish(templateId, content)).length === 0) return sent;
    }
    throw new Error('the object store loses pieces of it as fast as they are sent');
  }

  async #digestsOf({ folder, manifest }: HeldTemplate): Promise<Map<string, (string | undefined)[]>> {
    const digests = new Map<string, (string | undefined)[]>();
    for (const { name, blob } of manifest.files) {
      const meter = new DigestMeter();
      const ofFile: (string | undefined)[] = [];
      for await (const { content, digest } of piecesOf(join(folder, name), this.#stopping.signal)) {
        meter.add(content);
        ofFile.push(digest);
      }
      if (meter.result().digest !== blob.digest) throw new Error(`its file ${name} is not as it was written`);
      digests.set(name, ofFile);
    }
    return digests;
  }

  async #send(
    { folder, manifest }: HeldTemplate,
    digests: ReadonlyMap<string, (string | undefined)[]>,
  ): Promise<number> {
    const { exchange } = this.parts;
    const { templateId } = manifest;
    const asked = [...new Set([...digests.values()].flat())].filter((digest) => digest !== undefined);
    const lacking = new Set<string>();
    for (let from = 0; from < asked.length; from += PIECES_ASKED_MOST) {
      const some = asked.slice(from, from + PIECES_ASKED_MOST);
      for (const digest of await exchange.lacking(templateId, some)) lacking.add(digest);
    }
    let sent = 0;
    for (const { name } of manifest.files) {
      if (!digests.get(name)!.some((digest) => digest !== undefined && lacking.has(digest))) continue;
      for await (const { content, digest } of piecesOf(join(folder, name), this.#stopping.signal)) {
        if (digest === undefined || !lacking.delete(digest)) continue;
        await exchange.put(templateId, content);
        sent++;
      }
    }
    return sent;
  }
}
