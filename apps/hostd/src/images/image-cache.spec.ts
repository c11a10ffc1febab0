import { createHash } from 'node:crypto';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { connectNats } from '#bus';
import { BlobStore, digestOfManifest, encodeManifest, ImageError, type BlobSource } from '#images';
import { MicrovmSpec, type Blob, type LinuxManifest } from '#protocol';
import { describeWithNats, startNatsServer } from '../../../../test/support/nats-server';
import { ImageUnavailableError } from '../microvms/agent-context';
import { ImageCache } from './image-cache';
import { ImportedImageStore } from './imported-images';

const log = pino({ level: 'silent' });
const digestOf = (content: Buffer): string => `sha256:${createHash('sha256').update(content).digest('hex')}`;
const never = new AbortController().signal;

/** Images by name: kernel and initrd shared, 100 bytes each; a root of 1000 bytes of its own. */
class Store implements BlobSource {
  readonly content = new Map<string, Buffer>();
  readonly fetched: string[] = [];
  /** Called before each fetch; may throw. */
  before: (digest: string, signal?: AbortSignal) => Promise<void> | void = () => undefined;

  put(content: Buffer): Blob {
    const blob = { digest: digestOf(content), bytes: content.length };
    this.content.set(blob.digest, content);
    return blob;
  }

  image(name: string, rootBytes = 1_000): { digest: string; manifest: LinuxManifest } {
    const manifest: LinuxManifest = {
      schema: 1,
      kind: 'linux',
      architecture: 'amd64',
      kernel: {
        schema: 1,
        kind: 'kernel',
        architecture: 'amd64',
        release: '6.1.0',
        vmlinux: this.put(Buffer.alloc(100, 'k')),
        initrd: this.put(Buffer.alloc(100, 'i')),
        modules: ['/volley/modules/virtio_blk.ko'],
      },
      root: { type: 'squashfs', blob: this.put(Buffer.alloc(rootBytes, name)) },
      run: { entrypoint: ['/bin/sh'], command: [], env: [], user: '', workdir: '' },
      minMemoryMiB: 96,
    };
    this.put(encodeManifest(manifest));
    return { digest: digestOfManifest(manifest), manifest };
  }

  async fetch(digest: string, path: string, { signal }: { signal?: AbortSignal } = {}): Promise<Blob> {
    await this.before(digest, signal);
    this.fetched.push(digest);
    const content = this.content.get(digest);
    if (!content) throw new ImageError('contentGone', 'it is gone');
    await writeFile(path, content, { flag: 'wx' });
    return { digest, bytes: content.length };
  }

  read(digest: string): Promise<Buffer> {
    return Promise.resolve(this.content.get(digest)!);
  }
}

describe('the images of a host', () => {
  let folder: string;
  let store: Store;
  let used: string[];
  const open = (maxBytes = 1 << 20): ImageCache => {
    const cache = new ImageCache({ folder, maxBytes, inUse: () => used, log, retryMs: { first: 1, most: 5 } });
    cache.connect(store);
    return cache;
  };
  const files = (): string[] => readdirSync(join(folder, 'blobs')).map((name) => `sha256:${name}`);

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'volley-image-cache-'));
    store = new Store();
    used = [];
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it('are fetched once, however many ask, and found again later', async () => {
    const { digest, manifest } = store.image('a');
    const cache = open();
    const all = await Promise.all([1, 2, 3, 4].map(() => cache.ensure(digest, never)));
    expect(store.fetched).toHaveLength(4);
    for (const { manifest: found, pathOf } of all) {
      expect(found).toEqual(manifest);
      expect(digestOf(readFileSync(pathOf(manifest.root.blob)))).toBe(manifest.root.blob.digest);
    }
    const other = store.image('b');
    await cache.ensure(other.digest, never);
    expect(store.fetched).toHaveLength(6); // the kernel is shared
    await open().ensure(digest, never); // another agent
    expect(store.fetched).toHaveLength(6);
  });

  it('are there without the store, and waited for when they are not', async () => {
    const [here, away] = [store.image('here'), store.image('away')];
    await open().ensure(here.digest, never);
    const cache = new ImageCache({ folder, maxBytes: 1 << 20, inUse: () => used, log });
    await cache.ensure(here.digest, never);
    const waiting = cache.ensure(away.digest, never);
    const impatient = new AbortController();
    const givenUp = cache.ensure(away.digest, impatient.signal);
    impatient.abort();
    await expect(givenUp).rejects.toMatchObject({ failure: 'cancelled' });
    cache.connect(store);
    await waiting;
  });

  it('that were damaged are noticed when first used after a start, and fetched again', async () => {
    const { digest, manifest } = store.image('a');
    const { pathOf } = await open().ensure(digest, never);
    const path = pathOf(manifest.root.blob);
    chmodSync(path, 0o600);
    writeFileSync(path, Buffer.alloc(1_000, 'x'));
    store.fetched.length = 0;
    await open().ensure(digest, never);
    expect(store.fetched).toEqual([manifest.root.blob.digest]);
    expect(digestOf(readFileSync(path))).toBe(manifest.root.blob.digest);
    // The manifest too.
    chmodSync(join(folder, 'blobs', digest.slice(7)), 0o600);
    writeFileSync(join(folder, 'blobs', digest.slice(7)), '{}');
    await open().ensure(digest, never);
    expect(store.fetched).toContain(digest);
  });

  it('go, the longest unused first, when others need the room; but not those that microVMs use', async () => {
    const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((name) => store.image(name));
    const manifests = Math.max(...[a, b, c, d].map((one) => encodeManifest(one!.manifest).length));
    // Room for the kernel, two roots, and the manifest of a third.
    const maxBytes = 200 + 2 * 1_000 + 3 * manifests;
    let cache = open(maxBytes);
    used = [a!.digest];
    await cache.ensure(a!.digest, never);
    await cache.ensure(b!.digest, never);
    await cache.ensure(c!.digest, never);
    expect(files()).toEqual(expect.arrayContaining([a, c].map((one) => one!.manifest.root.blob.digest)));
    expect(files()).not.toContain(b!.manifest.root.blob.digest);
    // An agent that starts later knows which were used last.
    used = [];
    const old = new Date(Date.now() - 60_000);
    utimesSync(join(folder, 'blobs', c!.manifest.root.blob.digest.slice(7)), old, old);
    cache = open(maxBytes);
    await cache.ensure(d!.digest, never);
    expect(files()).toContain(a!.manifest.root.blob.digest);
    expect(files()).not.toContain(c!.manifest.root.blob.digest);
    expect(cache.bytes).toBeLessThanOrEqual(maxBytes);
    // Those in use fill it: the next is refused and takes nothing away.
    used = [a!.digest, d!.digest];
    await expect(cache.ensure(b!.digest, never)).rejects.toMatchObject({ failure: 'noSpace' });
    expect(files()).toEqual(expect.arrayContaining([a, d].map((one) => one!.manifest.root.blob.digest)));
    const large = store.image('large', 10_000);
    await expect(cache.ensure(large.digest, never)).rejects.toMatchObject({ failure: 'tooLarge' });
  });

  it('do not go while others of their image are still on the way', async () => {
    const a = store.image('a');
    const manifest = encodeManifest(a.manifest).length;
    const cache = open(200 + 1_000 + 2 * manifest);
    let arrived!: () => void;
    const kernelHere = new Promise<void>((resolve) => (arrived = resolve));
    let goOn!: () => void;
    const mayGoOn = new Promise<void>((resolve) => (goOn = resolve));
    store.before = (digest) => {
      if (digest !== a.manifest.root.blob.digest) return;
      arrived();
      return mayGoOn;
    };
    const first = cache.ensure(a.digest, never);
    await kernelHere;
    const other = store.image('c', 100);
    other.manifest.kernel.vmlinux = store.put(Buffer.alloc(150, 'K'));
    other.manifest.kernel.initrd = store.put(Buffer.alloc(1_000, 'I'));
    store.put(encodeManifest(other.manifest));
    await expect(cache.ensure(digestOfManifest(other.manifest), never)).rejects.toMatchObject({ failure: 'noSpace' });
    expect(files()).toContain(a.manifest.kernel.vmlinux.digest);
    goOn();
    await first;
  });

  it('are asked for again while the store does not answer', async () => {
    const { digest } = store.image('a');
    let failures = 5;
    store.before = () => {
      if (failures-- > 0) throw new ImageError('storeAway', 'no answer');
    };
    await open().ensure(digest, never);
    expect(failures).toBeLessThan(0);
  });

  it('are given up when the last who waits gives up, and fetched by who asks then', async () => {
    const { digest } = store.image('a');
    const [one, two] = [new AbortController(), new AbortController()];
    let began!: () => void;
    const beganOnce = new Promise<void>((resolve) => (began = resolve));
    let ended = 0;
    store.before = (_, signal) =>
      new Promise((_resolve, reject) => {
        began();
        signal!.addEventListener('abort', () => {
          ended++;
          reject(new ImageError('cancelled', 'given up'));
        });
      });
    const cache = open();
    const asked = [one, two].map(({ signal }) => cache.ensure(digest, signal));
    await beganOnce;
    one.abort();
    await expect(asked[0]).rejects.toMatchObject({ failure: 'cancelled' });
    expect(ended).toBe(0);
    two.abort();
    await expect(asked[1]).rejects.toMatchObject({ failure: 'cancelled' });
    expect(ended).toBe(1);
    store.before = () => undefined;
    await cache.ensure(digest, never);
    expect(readdirSync(join(folder, 'drafts'))).toEqual([]);
  });

  it('that are gone or wrong in the store fail, and leave nothing', async () => {
    const { digest, manifest } = store.image('a');
    store.content.delete(manifest.root.blob.digest);
    const cache = open();
    await expect(cache.ensure(digest, never)).rejects.toMatchObject({ failure: 'contentGone' });
    const junk = store.put(Buffer.from('{"schema":2}'));
    await expect(cache.ensure(junk.digest, never)).rejects.toMatchObject({
      failure: 'corrupted',
      message: expect.stringContaining('update this host'),
    });
    expect(readdirSync(join(folder, 'drafts'))).toEqual([]);
  });

  it('make room when the disk is full before it is given up', async () => {
    const [a, b] = [store.image('a'), store.image('b')];
    const cache = open();
    await cache.ensure(a.digest, never);
    store.before = (digest) => {
      if (digest === b.manifest.root.blob.digest && files().includes(a.manifest.root.blob.digest)) {
        throw new ImageError('noSpace', 'no room on the disk');
      }
    };
    await cache.ensure(b.digest, never);
    expect(files()).not.toContain(a.manifest.root.blob.digest);
    store.before = (digest) => {
      if (digest === a.manifest.root.blob.digest) throw new ImageError('noSpace', 'no room on the disk');
    };
    await expect(cache.ensure(a.digest, never)).rejects.toMatchObject({ failure: 'noSpace' });
  });

  describe('boot', () => {
    const spec = (image: string, memoryMiB = 128): MicrovmSpec => MicrovmSpec.parse({ image, memoryMiB });

    it('from the files of the cache', async () => {
      const { digest, manifest } = store.image('a');
      const source = await new ImportedImageStore(open()).resolve(spec(`a@${digest}`), never);
      expect(source).toEqual({
        kernelPath: join(folder, 'blobs', manifest.kernel.vmlinux.digest.slice(7)),
        initrdPath: join(folder, 'blobs', manifest.kernel.initrd.digest.slice(7)),
        bootProtocol: 'linux',
        irqchip: 'full',
        linux: {
          root: { path: join(folder, 'blobs', manifest.root.blob.digest.slice(7)), sizeBytes: 1_000, type: 'squashfs' },
          modules: ['/volley/modules/virtio_blk.ko'],
          run: manifest.run,
        },
      });
    });

    it('not with too little memory, not as a kernel, not where Linux does not boot', async () => {
      const { digest, manifest } = store.image('a');
      const kernel = store.put(encodeManifest(manifest.kernel));
      const images = new ImportedImageStore(open());
      await expect(images.resolve(spec(`a@${digest}`, 64), never)).rejects.toThrow(/needs at least 96 MiB/);
      await expect(images.resolve(spec(`k@${kernel.digest}`), never)).rejects.toThrow(/is a kernel/);
      await expect(images.resolve(spec(`a@${digestOf(Buffer.from('gone'))}`), never)).rejects.toThrow(
        ImageUnavailableError,
      );
      expect(images.refuses(spec('a'))).toMatch(/not named with its digest/);
      expect(new ImportedImageStore(open(), 'software KVM').refuses(spec(`a@${digest}`))).toMatch(/software KVM/);
    });
  });
});

describeWithNats('images reach other hosts', () => {
  it('through the object store, whole or not at all', async () => {
    const server = await startNatsServer();
    const folder = mkdtempSync(join(tmpdir(), 'volley-image-cache-'));
    const nc = await connectNats({ servers: server.url, name: 'image-cache-spec' });
    try {
      const blobs = await BlobStore.open(nc);
      const built = new Store();
      const { digest, manifest } = built.image('a', 3_000_000);
      for (const content of built.content.values()) await blobs.putBytes(content);
      for (const host of ['one', 'two']) {
        const cache = new ImageCache({ folder: join(folder, host), maxBytes: 1 << 30, inUse: () => [], log });
        cache.connect(await BlobStore.open(nc));
        const { pathOf } = await cache.ensure(digest, never);
        expect(digestOf(readFileSync(pathOf(manifest.root.blob)))).toBe(manifest.root.blob.digest);
      }
    } finally {
      await nc.close();
      await server.stop();
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
