import { randomBytes } from 'node:crypto';
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  writeSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  chmodSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import type { NatsConnection } from 'nats';
import pino from 'pino';
import { connectNats } from '#bus';
import { ObjectBucket, TemplateContents } from '#images';
import { prefetchWorkingSet, readWorkingSet } from '#microvm';
import {
  MicrovmSpec,
  OperationError,
  PIECE_BYTES,
  sortableId,
  TEMPLATE_CONTENT_BUCKET,
  type TemplateContent,
  type WorkingSet,
} from '#protocol';
import { describeWithNats, startNatsServer, type NatsServer } from '../../../../test/support/nats-server';
import { fetchTemplate } from './fetch-template';
import type { TemplateExchange } from './template-exchange';
import { TemplatePublisher, type Publication } from './template-publisher';
import { TemplateStore, type HeldTemplate } from './template-store';

const log = pino({ level: 'silent' });
const ABOUT = { spec: MicrovmSpec.parse({ image: 'canary' }), platform: { kvm: 'software' as const }, pauseMs: 3 };
const MIB = 1 << 20;
const never = new AbortController().signal;
let made = 0;
const newId = (): string => sortableId(1_700_000_000_000, Buffer.alloc(10, ++made));

/** Two hosts and the object store between them, with real files and a real nats-server. */
describeWithNats('templates on their way from host to host', () => {
  let server: NatsServer;
  let nc: NatsConnection;
  let contents: TemplateContents;
  let bucket: ObjectBucket;
  let folder: string;
  let source: TemplateStore;
  let target: TemplateStore;
  /** What the object store is asked; tests let some of it fail. */
  let exchange: TemplateExchange & { puts: number; pieces: number };

  beforeEach(async () => {
    server = await startNatsServer();
    nc = await connectNats({ servers: server.url, name: 'template-transfer' });
    contents = await TemplateContents.open(nc, { maxBytes: 64 * MIB });
    bucket = await ObjectBucket.open(nc, TEMPLATE_CONTENT_BUCKET);
    folder = mkdtempSync(join(tmpdir(), 'volley-transfer-'));
    source = storeIn('source');
    target = storeIn('target');
    exchange = {
      puts: 0,
      pieces: 0,
      content: async (id) => {
        const content = await contents.content(id);
        if (!content) throw new OperationError('notFound', `no ${id}`);
        return content;
      },
      piece: (digest) => (exchange.pieces++, contents.piece(digest)),
      lacking: (_id, digests) => contents.lacking(digests),
      put: (_id, content) => (exchange.puts++, contents.put(content)),
      publish: (_id, content) => contents.publish(content),
      putWorkingSet: (id, workingSet) => contents.putWorkingSet(id, { digest: source.get(id)!.digest, workingSet }),
      workingSet: async (id, digest) => (await contents.workingSet(id, digest)) ?? null,
    };
    target.connect((wanted, signal) => fetchTemplate(exchange, target, wanted, signal));
  });
  afterEach(async () => {
    await nc.close();
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  function storeIn(name: string, maxBytes = 256 * MIB, inUse: string[] = []): TemplateStore {
    return new TemplateStore({ directory: join(folder, name), maxBytes, leastFreeMiB: 1, inUse: () => inUse, log });
  }

  /** `sizeMiB` of memory, of which the second and the last but one piece are not zeros. */
  async function make(id = newId(), sizeMiB = 32): Promise<HeldTemplate> {
    const draft = await source.begin(id, sizeMiB * MIB);
    const memory = join(draft, 'memory');
    writeFileSync(memory, '');
    truncateSync(memory, sizeMiB * MIB + 100);
    const content = Buffer.alloc(2 * PIECE_BYTES, id);
    writeAt(memory, randomBytes(PIECE_BYTES), PIECE_BYTES);
    writeAt(memory, content.subarray(0, 10), sizeMiB * MIB - 10);
    writeFileSync(join(draft, 'state'), `state of ${id}`);
    writeFileSync(join(draft, 'disk0.raw'), Buffer.alloc(PIECE_BYTES + 1, 7));
    return source.complete(id, draft, ABOUT);
  }

  async function publish(...ids: string[]): Promise<Publication[]> {
    const outcomes: Publication[] = [];
    let over!: () => void;
    const all = new Promise<void>((resolve) => (over = resolve));
    const publisher = new TemplatePublisher({
      ...{ store: source, exchange, log },
      over: (one) => {
        outcomes.push(one);
        if (outcomes.length === ids.length) over();
      },
    });
    publisher.want(ids);
    await all;
    publisher.stop();
    return outcomes;
  }

  const use = (held: HeldTemplate, signal = never, store = target): Promise<HeldTemplate> =>
    store.use(`${held.manifest.templateId}@${held.digest}`, signal);
  const filesOf = ({ folder: path }: HeldTemplate): string[] => readdirSync(path).sort();
  const draftsIn = (name: string): string[] => readdirSync(join(folder, name, 'drafts'));

  it('arrive as they were made, holes as holes, and only what is not zeros was sent', async () => {
    const one = await make();
    const { templateId } = one.manifest;
    expect(await publish(templateId)).toEqual([{ templateId, problem: null }]);
    // Two pieces of memory, two of the disk, the state; and a table for each of the three files.
    expect(exchange.puts).toBe(8);
    expect((await bucket.list()).length).toBe(9);
    const [here, again] = await Promise.all([use(one), use(one)]);
    expect(again).toBe(here);
    expect(exchange.pieces).toBe(8);
    expect(here).toMatchObject({ digest: one.digest, fetched: true, manifest: one.manifest });
    for (const { name } of one.manifest.files) {
      expect(readFileSync(join(here.folder, name)).equals(readFileSync(join(one.folder, name)))).toBe(true);
    }
    const blocksOf = (held: HeldTemplate): number => statSync(join(held.folder, 'memory')).blocks;
    // A file system may need one more to say where they are.
    expect(Math.abs(blocksOf(here) - blocksOf(one))).toBeLessThanOrEqual(8);
    expect(filesOf(here)).toEqual([...filesOf(one), 'fetched'].sort());
    // As the next agent finds it.
    expect(storeIn('target').get(templateId)).toMatchObject({ digest: one.digest, fetched: true });
    expect(storeIn('source').get(templateId)).toMatchObject({ fetched: false });
  });

  it('bring along where their clones are first in memory, are fetched without it where it is not to be had, and take it along', async () => {
    const workingSet: WorkingSet = { schema: 1, runs: [[PIECE_BYTES, 4_096]] };
    const one = await make();
    const { templateId } = one.manifest;
    await publish(templateId);
    expect(await readWorkingSet((await use(one)).folder)).toBeUndefined();
    await target.remove(templateId);
    await exchange.putWorkingSet(templateId, workingSet);
    const here = await use(one);
    expect(await readWorkingSet(here.folder)).toEqual(workingSet);
    // It is no part of what its digest is of.
    expect([here.digest, here.manifest]).toEqual([one.digest, one.manifest]);
    expect(await prefetchWorkingSet(here.folder)).toBe(4_096);
    expect(await contents.workingSet(templateId, `sha256:${'0'.repeat(64)}`)).toBeUndefined();

    const beyond: WorkingSet = { schema: 1, runs: [[2 ** 40, 4_096]] };
    const answers = [
      () => Promise.resolve(beyond),
      () => Promise.reject(new OperationError('unavailable', 'nobody answers: this image service is older')),
    ];
    for (const answer of answers) {
      await target.remove(templateId);
      exchange.workingSet = answer;
      const without = await use(one);
      expect(await readWorkingSet(without.folder)).toBeUndefined();
      expect(filesOf(without)).toEqual([...filesOf(one), 'fetched'].sort());
    }

    await bucket.put(`${templateId}.working-set`, Readable.from([Buffer.from('{}')]));
    await expect(contents.workingSet(templateId, one.digest)).rejects.toMatchObject({ failure: 'corrupted' });
    await contents.sweep(() => true);
    expect((await bucket.list()).map(({ name }) => name)).toContain(`${templateId}.working-set`);
    await contents.sweep(() => false);
    expect((await bucket.list()).map(({ name }) => name)).not.toContain(`${templateId}.working-set`);
  });

  it('go on where they broke off, and share pieces', async () => {
    const one = await make();
    const { templateId } = one.manifest;
    const { put } = exchange;
    exchange.put = (id, content) => (exchange.puts === 2 ? Promise.reject(new Error('cut off')) : put(id, content));
    expect(await publish(templateId)).toEqual([{ templateId, problem: 'cut off' }]);
    await expect(use(one)).rejects.toThrow(`template ${templateId} is not on this host, and cannot be fetched: no`);
    expect(target.list()).toEqual([]);
    exchange.put = put;
    expect(await publish(templateId)).toEqual([{ templateId, problem: null }]);
    expect(exchange.puts).toBe(8);
    const other = await make();
    await publish(other.manifest.templateId);
    // Its disk and the end of its memory are the same: one piece of memory, its state, and the tables.
    expect(exchange.puts).toBe(8 + 5);
    await use(one);
    await use(other);
  });

  it('are asked for again while the store is away, and leave nothing when that is given up', async () => {
    const one = await make();
    await publish(one.manifest.templateId);
    const { piece } = exchange;
    let failures = 0;
    exchange.piece = (digest) =>
      failures++ < 2 ? Promise.reject(new OperationError('unavailable', 'away')) : piece(digest);
    await use(one);
    await target.remove(one.manifest.templateId);
    const giveUp = new AbortController();
    exchange.piece = (digest) => {
      if (target.list().length === 0) return piece(digest); // tables
      giveUp.abort();
      return Promise.reject(new OperationError('unavailable', 'away'));
    };
    await expect(use(one, giveUp.signal)).rejects.toMatchObject({ failure: 'cancelled' });
    exchange.piece = piece;
    // Waits for the end of what was given up.
    await use(one);
    expect(draftsIn('target')).toEqual([]);
  });

  it.each([
    [
      'a piece that was changed in the store',
      (content: TemplateContent, exchanged: typeof exchange) => {
        const { piece } = exchanged;
        exchanged.piece = async (digest) => {
          const found = Buffer.from(await piece(digest));
          if (found.length === PIECE_BYTES) found[0]! ^= 1;
          return found;
        };
        return content;
      },
      /its piece sha256:[0-9a-f]+ is damaged in the object store/,
    ],
    [
      'tables of another file',
      ({ tables, ...content }: TemplateContent) => ({
        ...content,
        tables: tables.map(({ name }) => ({ name, pieces: tables[0]!.pieces })),
      }),
      /does not fit its size/,
    ],
    [
      'another manifest',
      (content: TemplateContent) => ({ ...content, manifest: { ...content.manifest, pauseMs: 4 } }),
      /what the object store has is another one/,
    ],
  ])('are refused, with nothing left: %s', async (_what, change, message) => {
    const one = await make();
    await publish(one.manifest.templateId);
    const { content } = exchange;
    exchange.content = async (...asked) => change(await content(...asked), exchange);
    await expect(use(one)).rejects.toThrow(message);
    expect([target.list(), draftsIn('target')]).toEqual([[], []]);
  });

  it('are not published when they are not as they were written', async () => {
    const { folder: path, manifest } = await make();
    chmodSync(join(path, 'disk0.raw'), 0o600);
    writeAt(join(path, 'disk0.raw'), Buffer.from('x'), 5);
    expect(await publish(manifest.templateId)).toEqual([
      { templateId: manifest.templateId, problem: 'its file disk0.raw is not as it was written' },
    ]);
  });

  it('are fetched anew where a file of theirs was damaged', async () => {
    const one = await make();
    await publish(one.manifest.templateId);
    const here = await use(one);
    chmodSync(join(here.folder, 'memory'), 0o600);
    writeAt(join(here.folder, 'memory'), Buffer.from('x'), 5);
    const anew = await use(one);
    expect(readFileSync(join(anew.folder, 'memory'))[5]).toBe(0);
  });

  it('make room for others, the longest unused first, but never those in use or of which there is no other copy', async () => {
    const [one, two, three, four] = [await make(), await make(), await make(), await make()];
    const ids = [one, two, three, four].map(({ manifest }) => manifest.templateId);
    await publish(...ids);
    const inUse: string[] = [];
    const store = storeIn('small', 6 * PIECE_BYTES, inUse);
    store.connect((wanted, signal) => fetchTemplate(exchange, store, wanted, signal));
    for (const held of [one, two]) await use(held, never, store);
    await expect(use(three, never, store)).rejects.toThrow(/delete some, or raise VOLLEY_TEMPLATE_MIB/);
    await store.setStored(new Set(ids), store.list());
    inUse.push(ids[0]!);
    await use(three, never, store);
    expect(store.list().sort()).toEqual([ids[0], ids[2]]);
    inUse.length = 0;
    await use(one, never, store);
    await use(four, never, store);
    expect(store.list()).toContain(ids[3]);
    expect(store.list()).toHaveLength(2);
    // What was fetched and is on no record any more is nobody's.
    await store.setStored(new Set(), store.list());
    expect(store.list()).toEqual([]);
  });

  it('leave the store with their record, but for what others share; it takes no more than it may', async () => {
    const [one, two] = [await make(), await make()];
    const strict = await TemplateContents.open(nc, { maxBytes: 64 * MIB, graceMs: 0 });
    await publish(one.manifest.templateId, two.manifest.templateId);
    const before = (await bucket.list()).length;
    // Nothing unfinished is touched before its time.
    expect(await contents.sweep(() => true)).toEqual({ templates: 0, pieces: 0 });
    expect(await contents.sweep((id) => id === two.manifest.templateId)).toEqual({ templates: 1, pieces: 0 });
    expect(await strict.sweep((id) => id === two.manifest.templateId)).toEqual({ templates: 0, pieces: 4 });
    expect((await bucket.list()).length).toBe(before - 5);
    await use(two);
    expect(await strict.sweep(() => false)).toMatchObject({ templates: 1 });
    expect(await bucket.list()).toEqual([]);
    expect(await bucket.storedBytes()).toBe(0);

    const full = await TemplateContents.open(nc, { maxBytes: PIECE_BYTES });
    await expect(full.put(Buffer.alloc(PIECE_BYTES + 1))).rejects.toMatchObject({ failure: 'tooLarge' });
    await full.put(Buffer.alloc(PIECE_BYTES, 1));
    await expect(full.put(Buffer.alloc(PIECE_BYTES, 2))).rejects.toThrow('raise VOLLEY_TEMPLATE_STORE_MIB');
  });

  it('do not count as published while pieces are lacking', async () => {
    const one = await make();
    const { put } = exchange;
    const lost: string[] = [];
    exchange.put = async (id, content) => {
      const digest = await put(id, content);
      if (lost.length === 0) {
        lost.push(digest);
        await bucket.remove(digest);
      }
      return digest;
    };
    expect(await publish(one.manifest.templateId)).toMatchObject([{ problem: null }]);
    expect(exchange.puts).toBe(8 + 1 + 3);
    expect(existsSync((await use(one)).folder)).toBe(true);
  });
});

/** Without filling holes. */
function writeAt(path: string, content: Buffer, at: number): void {
  const file = openSync(path, 'r+');
  writeSync(file, content, 0, content.length, at);
  closeSync(file);
}
