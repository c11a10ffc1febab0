import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Objm } from '@nats-io/obj';
import { jetstreamManager } from '@nats-io/jetstream';
import { connectNats } from '#bus';
import type { NatsConnection } from 'nats';
import { OperationError, type Image, type LinuxManifest } from '#protocol';
import { describeWithNats, startNatsServer, type NatsServer } from '../../../test/support/nats-server';
import {
  BlobStore,
  collectBlobs,
  digestOf,
  digestOfManifest,
  encodeManifest,
  ImageDirectory,
  ImageJobs,
  ObjectBucket,
  RelayedBlobs,
  type AskForPart,
  UploadStore,
} from '.';

const KIB = 1024;

async function* pieces(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function whole(content: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const chunk of content) parts.push(chunk);
  return Buffer.concat(parts);
}

describeWithNats('the content of images', () => {
  let server: NatsServer;
  let nc: NatsConnection;
  let folder: string;
  let blobs: BlobStore;
  const file = (content: Buffer): string => {
    const path = join(folder, digestOf(content).slice(7, 27));
    writeFileSync(path, content);
    return path;
  };
  /** As the image service answers hosts. */
  const ask: AskForPart = async (digest, after) => {
    const { content, next } = await blobs.part(digest, after);
    return { content: Buffer.from(content).toString('base64'), next };
  };
  /** Messages of chunks in a bucket. */
  const chunks = async (bucket: string): Promise<number> => {
    const jsm = await jetstreamManager(nc);
    const { state } = await jsm.streams.info(`OBJ_${bucket}`, { subjects_filter: `$O.${bucket}.C.>` });
    return Object.values(state.subjects ?? {}).reduce((sum, count) => sum + count, 0);
  };

  beforeAll(async () => {
    server = await startNatsServer();
    nc = await connectNats({ servers: server.url, name: 'images-spec' });
    folder = mkdtempSync(join(tmpdir(), 'volley-blobs-'));
    blobs = await BlobStore.open(nc);
  });
  afterAll(async () => {
    await nc?.close();
    await server?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  it.each([0, 1, 256 * KIB, 256 * KIB + 1, 3_000_000])('%s bytes come back as they went in', async (size) => {
    const content = randomBytes(size);
    const blob = await blobs.putFile(file(content));
    expect(blob).toEqual({ digest: digestOf(content), bytes: size });
    const copy = join(folder, 'copy');
    expect(await blobs.fetch(blob.digest, copy)).toEqual(blob);
    expect(readFileSync(copy).equals(content)).toBe(true);
    rmSync(copy);
    const relayed = new RelayedBlobs(ask);
    expect(await relayed.fetch(blob.digest, copy)).toEqual(blob);
    expect(readFileSync(copy).equals(content)).toBe(true);
    rmSync(copy);
  });

  it('are relayed as they are: damaged, gone, too large to be read at once, or not at all', async () => {
    const relayed = new RelayedBlobs(ask);
    const copy = join(folder, 'copy');
    const large = await blobs.putFile(file(randomBytes(1_100_000)));
    await expect(relayed.read(large.digest)).rejects.toMatchObject({ failure: 'tooLarge' });
    await expect(relayed.fetch(digestOf('nothing'), copy)).rejects.toMatchObject({ failure: 'contentGone' });
    const lossy = new RelayedBlobs(async (digest, after) => {
      const part = await ask(digest, after);
      return { ...part, content: after === 0 ? '' : part.content };
    });
    await expect(lossy.fetch(large.digest, copy)).rejects.toMatchObject({ failure: 'wrongDigest' });
    const away = new RelayedBlobs(() => Promise.reject(new OperationError('timeout', 'no answer')));
    await expect(away.fetch(large.digest, copy)).rejects.toMatchObject({ failure: 'storeAway' });
    expect(existsSync(copy)).toBe(false);
  });

  it('are what other clients of the object store read and write', async () => {
    const bucket = await ObjectBucket.open(nc, { name: 'shared' });
    const theirs = await new Objm(nc).open('shared');
    const content = randomBytes(700_000);
    await bucket.put('ours', pieces(content, 100_000));
    expect(Buffer.from((await theirs.getBlob('ours'))!).equals(content)).toBe(true);
    await theirs.putBlob({ name: 'theirs' }, content);
    const got = await bucket.get('theirs');
    expect(got!.object).toMatchObject({ bytes: 700_000, digest: digestOf(content) });
    expect((await whole(got!.content)).equals(content)).toBe(true);
  });

  it('are stored once, also when two processes store them together', async () => {
    const content = randomBytes(1_000_000);
    const other = await BlobStore.open(nc);
    const before = await chunks('blobs');
    await Promise.all([blobs.putFile(file(content)), blobs.putFile(file(content)), other.putFile(file(content))]);
    await blobs.putFile(file(content));
    expect((await chunks('blobs')) - before).toBe(4);
    const copy = join(folder, 'once');
    await blobs.fetch(digestOf(content), copy);
    expect(readFileSync(copy).equals(content)).toBe(true);
  });

  it('leave nothing when they are not what was promised, too many, or break off', async () => {
    const bucket = await ObjectBucket.open(nc, { name: 'strict' });
    const content = randomBytes(900_000);
    const broken = async function* (): AsyncGenerator<Buffer> {
      yield content.subarray(0, 600_000);
      throw new Error('the sender is gone');
    };
    await expect(
      bucket.put('x', pieces(content, 50_000), { expectedDigest: digestOf('another') }),
    ).rejects.toMatchObject({ failure: 'wrongDigest', code: 'invalid' });
    await expect(bucket.put('x', pieces(content, 50_000), { maxBytes: 800_000 })).rejects.toMatchObject({
      failure: 'tooLarge',
    });
    await expect(bucket.put('x', broken())).rejects.toThrow('the sender is gone');
    const given = AbortSignal.abort();
    await expect(bucket.put('x', pieces(content, 50_000), { signal: given })).rejects.toMatchObject({
      failure: 'cancelled',
    });
    expect(await bucket.list()).toEqual([]);
    expect(await chunks('strict')).toBe(0);
  });

  it('replace each other in one step, and are gone when removed', async () => {
    const bucket = await ObjectBucket.open(nc, { name: 'steps' });
    await bucket.put('x', pieces(randomBytes(600_000), 50_000));
    const second = randomBytes(300_000);
    await bucket.put('x', pieces(second, 50_000));
    expect((await whole((await bucket.get('x'))!.content)).equals(second)).toBe(true);
    expect(await chunks('steps')).toBe(2);
    expect(await bucket.remove('x')).toBe(true);
    expect(await bucket.remove('x')).toBe(false);
    expect(await bucket.get('x')).toBeUndefined();
    expect(await chunks('steps')).toBe(0);
    expect((await (await jetstreamManager(nc)).streams.info('OBJ_steps')).state.messages).toBe(0);
  });

  it('that a dying writer left half are swept, those of a living one are not', async () => {
    const bucket = await ObjectBucket.open(nc, { name: 'halves' });
    await bucket.put('whole', pieces(randomBytes(300_000), 50_000));
    nc.publish('$O.halves.C.half', randomBytes(1_000));
    await nc.flush();
    expect(await bucket.sweepUnfinished(60_000)).toBe(0);
    expect(await bucket.sweepUnfinished(0)).toBe(1);
    expect(await bucket.sweepUnfinished(0)).toBe(0);
    expect(await chunks('halves')).toBe(2);
  });

  it('are given up by a reader, with the file, when they are damaged in the store or not there', async () => {
    const jsm = await jetstreamManager(nc);
    const content = randomBytes(600_000);
    const { digest } = await blobs.putFile(file(content));
    const copy = join(folder, 'copy');
    const info = await (await new Objm(nc).open('blobs')).info(digest);
    const subject = `$O.blobs.C.${info!.nuid}`;
    const first = await jsm.streams.getMessage('OBJ_blobs', { last_by_subj: subject });
    await jsm.streams.deleteMessage('OBJ_blobs', first!.seq);
    // What is gone is not waited for.
    await expect(blobs.fetch(digest, copy)).rejects.toMatchObject({ failure: 'wrongDigest' });
    nc.publish(subject, randomBytes(first!.data.length));
    await nc.flush();
    await expect(blobs.fetch(digest, copy)).rejects.toMatchObject({ failure: 'wrongDigest' });
    await expect(blobs.fetch(digestOf('nothing'), copy)).rejects.toMatchObject({
      failure: 'contentGone',
      code: 'notFound',
    });
    expect(existsSync(copy)).toBe(false);
    // Storing the same again puts it right.
    expect(await blobs.isWhole(digest)).toBe(false);
    await blobs.putFile(file(content));
    expect(await blobs.isWhole(digest)).toBe(true);
    await blobs.fetch(digest, copy);
    expect(readFileSync(copy).equals(content)).toBe(true);
    rmSync(copy);
  });

  it('under a digest that is not theirs are not believed', async () => {
    const bucket = await ObjectBucket.open(nc, { name: 'blobs' });
    const digest = digestOf('what it says');
    await bucket.put(digest, pieces(Buffer.from('what it is'), 100));
    await expect(blobs.read(digest)).rejects.toMatchObject({ failure: 'wrongDigest' });
    await expect(blobs.fetch(digest, join(folder, 'copy'))).rejects.toMatchObject({ failure: 'wrongDigest' });
    // A writer of the right content puts it right.
    await blobs.putBytes(Buffer.from('what it says'));
    expect((await blobs.read(digest)).toString()).toBe('what it says');
  });

  it('find no room on a full server, and leave nothing there', async () => {
    const config = `jetstream { store_dir: ${JSON.stringify(join(folder, 'small'))}, max_file_store: 2MB }`;
    const small = await startNatsServer({ jetstream: false, config });
    const tight = await connectNats({ servers: small.url, name: 'images-spec' });
    try {
      const store = await BlobStore.open(tight);
      await expect(store.putFile(file(randomBytes(4_000_000)))).rejects.toMatchObject({
        failure: 'noSpace',
        message: expect.stringContaining('no room'),
      });
      expect(await store.list()).toEqual([]);
      const { digest } = await store.putFile(file(randomBytes(1_500_000)));
      // What is removed makes room.
      expect(await store.removeUnless(digest, Date.now() + 1)).toBe(true);
      await store.putFile(file(randomBytes(1_500_000)));
    } finally {
      await tight.close();
      await small.stop();
    }
  });

  it('are uploaded, fetched and forgotten', async () => {
    const uploads = await UploadStore.open(nc);
    const content = randomBytes(500_000);
    expect(await uploads.put('u1', pieces(content, 1_000), {})).toEqual({ digest: digestOf(content), bytes: 500_000 });
    const copy = join(folder, 'upload');
    await uploads.fetch('u1', copy);
    expect(readFileSync(copy).equals(content)).toBe(true);
    expect(await uploads.remove('u1')).toBe(true);
    await expect(uploads.fetch('u1', join(folder, 'again'))).rejects.toMatchObject({ failure: 'contentGone' });
  });

  it('that were damaged after they were uploaded are given up', async () => {
    const uploads = await UploadStore.open(nc);
    await uploads.put('damaged', pieces(randomBytes(1_000), 100), {});
    const info = await (await new Objm(nc).open('uploads')).info('damaged');
    const jsm = await jetstreamManager(nc);
    const subject = `$O.uploads.C.${info!.nuid}`;
    const chunk = await jsm.streams.getMessage('OBJ_uploads', { last_by_subj: subject });
    await jsm.streams.deleteMessage('OBJ_uploads', chunk!.seq);
    nc.publish(subject, randomBytes(1_000));
    await nc.flush();
    await expect(uploads.fetch('damaged', join(folder, 'damaged'))).rejects.toMatchObject({ failure: 'wrongDigest' });
    expect(existsSync(join(folder, 'damaged'))).toBe(false);
    await uploads.remove('damaged');
  });

  describe('are collected', () => {
    const linux = async (name: string): Promise<Image> => {
      const [vmlinux, initrd, root] = await Promise.all(
        ['vmlinux', 'initrd', `root of ${name}`].map((text) => blobs.putBytes(Buffer.from(text))),
      );
      const manifest: LinuxManifest = {
        schema: 1,
        kind: 'linux',
        architecture: 'amd64',
        kernel: {
          schema: 1,
          kind: 'kernel',
          architecture: 'amd64',
          release: '6.1.0',
          vmlinux: vmlinux!,
          initrd: initrd!,
          modules: [],
        },
        root: { type: 'squashfs', blob: root! },
        run: { entrypoint: [], command: ['/bin/sh'], env: [], user: '', workdir: '' },
        minMemoryMiB: 64,
      };
      await blobs.putBytes(encodeManifest(manifest));
      const bytes = vmlinux!.bytes + initrd!.bytes + root!.bytes;
      return {
        name,
        digest: digestOfManifest(manifest),
        manifest,
        bytes,
        source: 'test',
        createdAt: new Date().toISOString(),
      };
    };
    const collect = (images: Image[], references: string[] = [], options: object = {}) =>
      collectBlobs(blobs, { images, references, before: Date.now() + 1, dryRun: false, ...options });

    it('when no image, no microVM and no import uses them', async () => {
      await collect([]);
      const [kept, running, gone] = await Promise.all(['kept', 'running', 'gone'].map(linux));
      const pinned = `${running!.name}@${running!.digest}`;
      // vmlinux, initrd, and for each a root and a manifest
      expect(await blobs.list()).toHaveLength(8);
      expect(await collect([kept!], [pinned, 'canary'], { dryRun: true })).toMatchObject({ blobs: 2, kept: 6 });
      expect(await blobs.list()).toHaveLength(8);
      expect(await collect([kept!], [pinned], { before: 0 })).toMatchObject({ blobs: 0, bytes: 0, kept: 8 });
      const bytes = 'root of gone'.length + encodeManifest(gone!.manifest).length;
      expect(await collect([kept!], [pinned, 'canary'])).toEqual({ blobs: 2, bytes, kept: 6 });
      expect(await collect([kept!], [pinned])).toMatchObject({ blobs: 0, kept: 6 });
      expect(await blobs.has(running!.digest)).toBe(true);
      expect(await collect([kept!])).toMatchObject({ blobs: 2, kept: 4 });
      expect(await collect([])).toMatchObject({ blobs: 4, kept: 0 });
    });

    it('but not when they are stored again meanwhile', async () => {
      const { digest } = await blobs.putBytes(Buffer.from('wanted again'));
      const before = Date.now();
      await new Promise((resolve) => setTimeout(resolve, 5));
      await blobs.putBytes(Buffer.from('wanted again'));
      expect(await blobs.removeUnless(digest, before)).toBe(false);
      expect(await blobs.has(digest)).toBe(true);
    });
  });

  describe('the directory', () => {
    const image = (name: string, digest = digestOf(name)): Image => ({
      name,
      digest,
      manifest: {
        schema: 1,
        kind: 'kernel',
        architecture: 'amd64',
        release: '6.1.0',
        vmlinux: { digest, bytes: 1 },
        initrd: { digest, bytes: 2 },
        modules: [],
      },
      bytes: 3,
      source: 'test',
      createdAt: new Date().toISOString(),
    });

    it('shows every reader which image a name stands for', async () => {
      const [writer, reader] = await Promise.all([ImageDirectory.open(nc), ImageDirectory.open(nc)]);
      try {
        const names = ['alpine:3.20', 'team/worker', 'a..b.', 'debian-kernel'];
        for (const name of names) await writer.put(image(name));
        expect((await reader.current()).list().map(({ name }) => name)).toEqual([...names].sort());
        await writer.put(image('alpine:3.20', digestOf('newer')));
        expect((await reader.current()).get('alpine:3.20')!.digest).toBe(digestOf('newer'));
        expect(reader.withDigest(digestOf('newer'))!.name).toBe('alpine:3.20');
        expect((await reader.find('team/worker'))!.name).toBe('team/worker');
        expect(await reader.find('nobody')).toBeUndefined();
        const late = await ImageDirectory.open(nc);
        expect(late.list()).toEqual(reader.list());
        late.close();
        expect(await reader.remove('alpine:3.20')).toBe(true);
        expect(await reader.remove('alpine:3.20')).toBe(false);
        expect((await writer.current()).get('alpine:3.20')).toBeUndefined();
      } finally {
        writer.close();
        reader.close();
      }
    });

    it('goes on after the server was away', async () => {
      const directory = await ImageDirectory.open(nc);
      try {
        await server.restart();
        const other = await connectNats({ servers: server.url, name: 'images-spec' });
        const writer = await ImageDirectory.open(other);
        await writer.put(image('after'));
        for (let i = 0; i < 100 && !directory.get('after'); i++) await directory.current(200).catch(() => undefined);
        expect(directory.get('after')).toBeDefined();
        writer.close();
        await other.close();
      } finally {
        directory.close();
      }
    });

    it('skips what is no image', async () => {
      const unreadable: string[] = [];
      const directory = await ImageDirectory.open(nc, { onUnreadable: (key) => unreadable.push(key) });
      nc.publish('$KV.images.junk', 'junk');
      await nc.flush();
      await directory.current();
      expect(unreadable).toEqual(['junk']);
      directory.close();
    });
  });

  it('jobs are waited for, and fail when nobody is heard of', async () => {
    const jobs = await ImageJobs.open(nc);
    const job = { id: 'j1', name: 'x', state: 'running' as const, message: 'fetching' };
    await jobs.put(job, 1_000);
    expect(await jobs.get('j1')).toEqual(job);
    expect(await jobs.get('nobody')).toBeUndefined();
    expect(await jobs.oldestRunning()).toBe(1_000);
    expect(await jobs.over('j1', 20)).toEqual(job);
    const over = jobs.over('j1', 10_000);
    await jobs.put({ ...job, state: 'done', message: 'done' }, 1_000);
    expect((await over)!.state).toBe('done');
    expect(await jobs.oldestRunning()).toBeUndefined();
    await jobs.put({ ...job, id: 'j2' }, Date.now());
    expect(await jobs.failAbandoned(60_000, 'the image service ended')).toEqual([]);
    expect(await jobs.failAbandoned(0, 'the image service ended')).toEqual(['j2']);
    expect(await jobs.get('j2')).toMatchObject({
      state: 'failed',
      message: 'the image service ended',
      code: 'unavailable',
    });
  });
});
