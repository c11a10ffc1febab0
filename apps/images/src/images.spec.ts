import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { BlobStore, digestOfManifest } from '#images';
import { openMicrovmJournal } from '#fleet';
import { decideEvents } from '#lifecycle';
import {
  collectImages,
  imageJob,
  importImage,
  listImages,
  microvmHistory,
  MicrovmSpec,
  removeImage,
  sortableId,
  type Image,
  type LinuxManifest,
} from '#protocol';
import { natsServerMissing } from '../../../test/support/nats-server';
import { busyboxImage, findProgram, missingProgram, OCI_PROGRAMS } from '../../../test/support/oci-image';
import { REGISTRY_PROGRAMS, startImageRegistry, type ImageRegistry } from '../../../test/support/image-registry';
import { ImageService } from './testing/image-service';
import { bzImage, kernelPackage } from './testing/kernels';

const obstacle =
  natsServerMissing() ??
  missingProgram({ ...OCI_PROGRAMS, unsquashfs: 'squashfs-tools', tar: 'tar' }) ??
  (process.getuid?.() === 0 ? undefined : 'layers are unpacked as root only');
if (obstacle) process.stderr.write(`SKIPPED: the image service: ${obstacle}\n`);

const RELEASE = '6.1.0-9-cloud-amd64';
const sha256 = (path: string): string => `sha256:${createHash('sha256').update(readFileSync(path)).digest('hex')}`;
const program = (name: string, args: string[], cwd?: string): string =>
  execFileSync(findProgram(name) ?? name, args, {
    cwd,
    encoding: 'utf8',
    stdio: 'pipe',
    timeout: 60_000,
    maxBuffer: 64 << 20,
  });

(obstacle ? describe.skip : describe)('the image service', () => {
  let service: ImageService;
  let folder: string;
  let layout: string;
  const path = process.env['PATH'];
  const at = (name: string): string => join(folder, name);

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'volley-image-sources-'));
    layout = at('layout');
    busyboxImage(layout, {
      entrypoint: ['/bin/sh', '-c'],
      command: ['echo hi'],
      env: { GREETING: 'hello' },
      user: 'app',
      workdir: '/home/app',
    });
    program('skopeo', ['copy', '-q', '--insecure-policy', `oci:${layout}:image`, `oci-archive:${at('box.oci.tar')}`]);
    program('skopeo', [
      'copy',
      '-q',
      '--insecure-policy',
      `oci:${layout}:image`,
      `docker-archive:${at('box.docker.tar')}:box:1`,
    ]);
    service = await ImageService.start();
    kernelPackage(join(service.folder, 'kernels'), RELEASE);
    // No package is looked for in a test: the kernel of the cache is taken.
    mkdirSync(at('bin'));
    writeFileSync(at('bin/apt-cache'), '#!/bin/sh\nexit 1\n', { mode: 0o755 });
    process.env['PATH'] = `${at('bin')}${delimiter}${path}`;
  }, 60_000);
  afterAll(async () => {
    process.env['PATH'] = path;
    await service?.stop();
    rmSync(folder, { recursive: true, force: true });
  });
  afterEach(() => expect(service.workFolders()).toEqual([]));

  const imageOf = async (job: ReturnType<ImageService['import']>): Promise<Image & { manifest: LinuxManifest }> => {
    const { state, message, image } = await job;
    expect({ state, message }).toEqual({ state: 'done', message: expect.stringMatching(/^imported in /) });
    return image as Image & { manifest: LinuxManifest };
  };
  /** Fetches a blob out of the store; gives its path. */
  const fetched = async (digest: string): Promise<string> => {
    const target = at(digest.slice(7, 27));
    if (!existsSync(target)) await (await BlobStore.open(service.nc)).fetch(digest, target);
    return target;
  };
  const rootListing = async (image: Image & { manifest: LinuxManifest }): Promise<string> =>
    program('unsquashfs', ['-lln', await fetched(image.manifest.root.blob.digest)]);

  describe('imports an archive of an image', () => {
    it('with its root file system, what runs in it, and the kernel of the distribution', async () => {
      const image = await imageOf(service.importFile('box:1', at('box.oci.tar'), 'oci-archive'));
      const { manifest } = image;
      expect(image).toMatchObject({
        name: 'box:1',
        digest: digestOfManifest(manifest),
        source: expect.stringContaining(sha256(at('box.oci.tar'))),
      });
      expect(manifest).toMatchObject({
        kind: 'linux',
        root: { type: 'squashfs' },
        run: { entrypoint: ['/bin/sh', '-c'], command: ['echo hi'], user: 'app', workdir: '/home/app' },
        kernel: { release: RELEASE },
      });
      expect(manifest.run.env).toEqual([expect.stringMatching(/^PATH=/), 'GREETING=hello']);
      expect(manifest.kernel.modules[0]).toBe('/volley/modules/virtio_ring.ko');
      const listing = await rootListing(image);
      expect(listing).toMatch(/lrwxrwxrwx 0\/0 .*squashfs-root\/bin\/sh -> busybox/);
      expect(listing).toMatch(/drwxr-xr-x 1000\/1000 .*squashfs-root\/home\/app$/m);
      expect(listing).toMatch(/etc\/greeting$/m);
      expect(listing).not.toMatch(/etc\/removed/);
      const initrd = readFileSync(await fetched(manifest.kernel.initrd.digest), 'latin1');
      expect(initrd).toContain('init for guests');
      expect(initrd).toContain('module virtio_blk');
      expect((await fetched(manifest.kernel.vmlinux.digest)) && image.bytes).toBe(
        manifest.root.blob.bytes + manifest.kernel.vmlinux.bytes + manifest.kernel.initrd.bytes,
      );
      const { items } = await service.bus.call(listImages, {});
      expect(items.map(({ name, manifest: { kind } }) => ({ name, kind }))).toEqual([
        { name: 'box:1', kind: 'linux' },
        { name: 'debian-kernel', kind: 'kernel' },
      ]);
      expect(await service.chunks('uploads')).toBe(0);
    });

    it('twice, and from another kind of archive, as the same image', async () => {
      const one = await imageOf(service.importFile('box:1', at('box.oci.tar'), 'oci-archive'));
      const before = await service.chunks('blobs');
      const [again, docker] = await Promise.all([
        imageOf(service.importFile('box:again', at('box.oci.tar'), 'oci-archive')),
        imageOf(service.importFile('box:docker', at('box.docker.tar'), 'docker-archive')),
      ]);
      expect(again.digest).toBe(one.digest);
      expect(docker.digest).toBe(one.digest);
      expect(await service.chunks('blobs')).toBe(before);
    });

    it('once, when the same is asked for twice', async () => {
      const uploadId = await service.upload(at('box.oci.tar'));
      const request = { name: 'twice', source: { type: 'upload' as const, uploadId, format: 'oci-archive' as const } };
      const [a, b] = await Promise.all([
        service.bus.call(importImage, request),
        service.bus.call(importImage, request),
      ]);
      expect(a.job.id).toBe(b.job.id);
      await imageOf(service.over(a.job.id));
    });

    it('whose folders have no entries of their own', async () => {
      const names = program('find', [layout, '-type', 'f', '-printf', '%P\n']).trim().split('\n');
      program('tar', ['-cf', at('flat.tar'), '-C', layout, ...names]);
      await imageOf(service.importFile('flat', at('flat.tar'), 'oci-archive'));
    });

    it('when its digest is the expected one, of the file or of the image in it', async () => {
      const digest = program('skopeo', ['inspect', '--raw', `oci:${layout}:image`]);
      const ofManifest = `sha256:${createHash('sha256').update(digest).digest('hex')}`;
      for (const expectedDigest of [sha256(at('box.oci.tar')), ofManifest]) {
        await imageOf(service.importFile('box:1', at('box.oci.tar'), 'oci-archive', { expectedDigest }));
      }
    });

    it.each<[string, () => string, 'oci-archive' | 'docker-archive', string, RegExp]>([
      ['that is cut off', () => cut('box.oci.tar', 0.5), 'oci-archive', 'invalid', /./],
      ['with a damaged layer', () => damaged('box.oci.tar'), 'oci-archive', 'invalid', /./],
      ['of another format', () => at('box.docker.tar'), 'oci-archive', 'invalid', /./],
      ['that is text', () => text('hello'), 'docker-archive', 'invalid', /./],
      ['for another architecture', arm, 'oci-archive', 'unsupported', /linux\/arm64.*linux\/amd64/],
    ])('%s: refused, with nothing left', async (_, file, format, code, message) => {
      const before = await service.chunks('blobs');
      const job = await service.importFile('bad', file(), format);
      expect(job).toMatchObject({ state: 'failed', code, message: expect.stringMatching(message) });
      expect(await service.chunks('blobs')).toBe(before);
      expect((await service.bus.call(listImages, {})).items.map(({ name }) => name)).not.toContain('bad');
    });

    it('of another digest: refused', async () => {
      const expectedDigest = `sha256:${'0'.repeat(64)}`;
      const job = await service.importFile('bad', at('box.oci.tar'), 'oci-archive', { expectedDigest });
      expect(job).toMatchObject({
        state: 'failed',
        code: 'invalid',
        message: expect.stringContaining('not sha256:000'),
      });
    });

    it('that is not there: refused', async () => {
      const source = { type: 'upload' as const, uploadId: 'nothing', format: 'oci-archive' as const };
      expect(await service.import({ name: 'bad', source })).toMatchObject({ state: 'failed', code: 'notFound' });
    });

    const copyOf = (name: string): string => {
      const copy = at(`bad-${name}`);
      writeFileSync(copy, readFileSync(at(name)));
      return copy;
    };
    const cut = (name: string, part: number): string => {
      const copy = copyOf(name);
      truncateSync(copy, Math.floor(statSync(copy).size * part));
      return copy;
    };
    const damaged = (name: string): string => {
      const copy = copyOf(name);
      const content = readFileSync(copy);
      content.fill(0, content.length >> 1, (content.length >> 1) + 4_096);
      writeFileSync(copy, content);
      return copy;
    };
    const text = (content: string): string => {
      writeFileSync(at('text'), content);
      return at('text');
    };
    function arm(): string {
      busyboxImage(at('arm'), { architecture: 'arm64' });
      program('skopeo', [
        'copy',
        '-q',
        '--insecure-policy',
        '--override-arch=arm64',
        `oci:${at('arm')}:image`,
        `oci-archive:${at('arm.tar')}`,
      ]);
      return at('arm.tar');
    }
  });

  describe('imports a root file system', () => {
    it.each(['', '.gz', '.xz', '.zst'])('from a tar archive%s', async (suffix) => {
      mkdirSync(at('tree/etc'), { recursive: true });
      writeFileSync(at('tree/etc/motd'), 'welcome\n');
      program('chown', ['12:34', at('tree/etc/motd')]);
      program('tar', ['-caf', at(`root.tar${suffix}`), '-C', at('tree'), 'etc'], folder);
      const image = await imageOf(service.importFile('tree', at(`root.tar${suffix}`), 'rootfs'));
      expect(image.manifest.run).toMatchObject({ entrypoint: [], command: [], env: [expect.stringMatching(/^PATH=/)] });
      expect(await rootListing(image)).toMatch(/-rw-r--r-- 12\/34 .*etc\/motd$/m);
    });

    it('not from one that is cut off or none', async () => {
      program('tar', ['-cf', at('whole.tar'), '-C', layout, '.']);
      truncateSync(at('whole.tar'), Math.floor(statSync(at('whole.tar')).size / 2));
      expect(await service.importFile('bad', at('whole.tar'), 'rootfs')).toMatchObject({
        state: 'failed',
        code: 'invalid',
      });
      writeFileSync(at('none.tar'), 'x'.repeat(2_000));
      expect(await service.importFile('bad', at('none.tar'), 'rootfs')).toMatchObject({
        state: 'failed',
        code: 'invalid',
      });
    });
  });

  describe('imports a disk', () => {
    const fileSystem = (type: 'ext4' | 'erofs' | 'squashfs'): string => {
      const disk = at(`disk.${type}`);
      rmSync(disk, { force: true });
      if (type === 'squashfs') program('mksquashfs', [layout, disk, '-noappend', '-quiet', '-no-progress']);
      if (type === 'erofs') program('mkfs.erofs', ['--quiet', disk, layout]);
      if (type === 'ext4') program('mkfs.ext4', ['-q', '-d', layout, disk, '16M']);
      return disk;
    };
    const disk = (name: string, parts: [number, Buffer][], bytes: number): string => {
      const content = Buffer.alloc(bytes);
      for (const [offset, part] of parts) part.copy(content, offset);
      writeFileSync(at(name), content);
      return at(name);
    };
    const mbr = (entries: [type: number, first: number, sectors: number][]): Buffer => {
      const sector = Buffer.alloc(512);
      entries.forEach(([type, first, sectors], i) => {
        sector[446 + 16 * i + 4] = type;
        sector.writeUInt32LE(first, 446 + 16 * i + 8);
        sector.writeUInt32LE(sectors, 446 + 16 * i + 12);
      });
      sector.writeUInt16LE(0xaa55, 510);
      return sector;
    };
    const gpt = (entries: [type: string, first: number, last: number][]): Buffer => {
      const head = Buffer.alloc(34 * 512);
      mbr([[0xee, 1, 100_000]]).copy(head);
      head.write('EFI PART', 512, 'latin1');
      head.writeBigUInt64LE(2n, 512 + 72);
      head.writeUInt32LE(128, 512 + 80);
      head.writeUInt32LE(128, 512 + 84);
      entries.forEach(([type, first, last], i) => {
        head.write(type, 1024 + 128 * i, 'hex');
        head.writeBigUInt64LE(BigInt(first), 1024 + 128 * i + 32);
        head.writeBigUInt64LE(BigInt(last), 1024 + 128 * i + 40);
      });
      return head;
    };
    const tools: Record<string, string> = { ext4: 'mkfs.ext4', erofs: 'mkfs.erofs', squashfs: 'mksquashfs' };

    it.each(['ext4', 'erofs', 'squashfs'] as const)('that is one %s file system', async (type) => {
      if (!findProgram(tools[type]!)) return void process.stderr.write(`SKIPPED: ${type}: no ${tools[type]}\n`);
      const source = fileSystem(type);
      const { manifest } = await imageOf(service.importFile('disk', source, 'disk'));
      expect(manifest.root.type).toBe(type);
      expect(manifest.root.blob.bytes % 4_096).toBe(0);
      const root = readFileSync(await fetched(manifest.root.blob.digest));
      expect(root.subarray(0, 100_000).equals(readFileSync(source).subarray(0, 100_000))).toBe(true);
    });

    it.each<[string, (root: Buffer) => string]>([
      [
        'MBR',
        (root) =>
          disk(
            'mbr.img',
            [
              [
                0,
                mbr([
                  [0x0c, 2_048, 2_048],
                  [0x83, 4_096, 32_768],
                ]),
              ],
              [4_096 * 512, root],
            ],
            20 << 20,
          ),
      ],
      [
        'GPT',
        (root) =>
          disk(
            'gpt.img',
            [
              [
                0,
                gpt([
                  ['28732ac11ff8d211ba4b00a0c93ec93b', 2_048, 4_095],
                  ['af3dc60f838472478e793d69d8477de4', 4_096, 36_863],
                ]),
              ],
              [4_096 * 512, root],
            ],
            20 << 20,
          ),
      ],
    ])('with a %s and a Linux partition', async (_, make) => {
      const root = readFileSync(fileSystem('squashfs'));
      const { manifest } = await imageOf(service.importFile('disk', make(root), 'disk'));
      expect(manifest.root.type).toBe('squashfs');
      const alone = await imageOf(service.importFile('disk', at('disk.squashfs'), 'disk'));
      expect(alone.manifest.root.blob).toEqual(manifest.root.blob);
    });

    it.each<[string, () => string, RegExp]>([
      [
        'with no Linux partition',
        () => disk('none.img', [[0, mbr([[0x07, 2_048, 2_048]])]], 4 << 20),
        /none of the 1 partitions/,
      ],
      [
        'with a partition of something else',
        () =>
          disk(
            'xfs.img',
            [
              [0, mbr([[0x83, 2_048, 2_048]])],
              [2_048 * 512, Buffer.from('XFSB')],
            ],
            4 << 20,
          ),
        /XFS/,
      ],
      [
        'that is a qcow2 image',
        () => disk('x.qcow2', [[0, Buffer.from('514649fb00000003', 'hex')]], 1 << 20),
        /qemu-img convert/,
      ],
      ['of nothing', () => disk('zero.img', [], 1 << 20), /no file system that is known/],
      [
        'that is cut off',
        () => disk('cut.img', [[0, readFileSync(fileSystem('squashfs')).subarray(0, 200_000)]], 200_000),
        /cut off/,
      ],
    ])('%s: refused', async (_, make, message) => {
      expect(await service.importFile('bad', make(), 'disk')).toMatchObject({
        state: 'failed',
        code: 'invalid',
        message: expect.stringMatching(message),
      });
    });

    it('with an ext4 that was not unmounted: refused', async () => {
      if (!findProgram('mkfs.ext4')) return void process.stderr.write('SKIPPED: no mkfs.ext4\n');
      const content = readFileSync(fileSystem('ext4'));
      content.writeUInt32LE(content.readUInt32LE(1024 + 0x60) | 4, 1024 + 0x60);
      const source = disk('unclean.img', [[0, content]], content.length);
      expect(await service.importFile('bad', source, 'disk')).toMatchObject({
        message: expect.stringContaining('e2fsck'),
      });
    });
  });

  describe('imports a kernel', () => {
    it('from a file, for images that name it', async () => {
      writeFileSync(at('vmlinuz'), bzImage('6.12.1', 'zstd'));
      const kernel = await service.importFile('kernel:own', at('vmlinuz'), 'kernel');
      expect(kernel.image!.manifest).toMatchObject({ kind: 'kernel', release: '6.12.1', modules: [] });
      const image = await imageOf(
        service.importFile('box:own', at('box.oci.tar'), 'oci-archive', { kernel: 'kernel:own' }),
      );
      expect(image.manifest.kernel).toEqual(kernel.image!.manifest);
    });

    it('of Debian by its name', async () => {
      const job = await service.import({
        name: 'cloud',
        source: { type: 'debian-kernel', package: `linux-image-${RELEASE}` },
      });
      expect(job.image!.manifest).toMatchObject({ kind: 'kernel', release: RELEASE });
      const none = await service.import({
        name: 'x',
        source: { type: 'debian-kernel', package: 'linux-image-9.9.9-amd64' },
      });
      expect(none).toMatchObject({ state: 'failed', code: 'unavailable' });
    });

    it('but images do not take what is none', async () => {
      for (const [kernel, message] of [
        ['nobody', /nobody is not there; imported kernels: .*kernel:own/],
        ['box:1', /box:1 is an image, not a kernel/],
      ] as const) {
        const job = await service.importFile('bad', at('box.oci.tar'), 'oci-archive', { kernel });
        expect(job).toMatchObject({ state: 'failed', code: 'invalid', message: expect.stringMatching(message) });
      }
    });
  });

  const noRegistry = missingProgram(REGISTRY_PROGRAMS);
  if (noRegistry) process.stderr.write(`SKIPPED: imports from a registry: ${noRegistry}\n`);
  (noRegistry ? describe.skip : describe)('imports from a private registry', () => {
    let registry: ImageRegistry;
    const source = (more: object = {}) => ({
      type: 'registry' as const,
      reference: `${registry.name}/team/box:1`,
      username: registry.username,
      password: registry.password,
      caPem: registry.caPem,
      ...more,
    });

    beforeAll(async () => {
      registry = await startImageRegistry();
      registry.push(`oci:${layout}:image`, 'team/box:1');
    }, 30_000);
    afterAll(() => registry?.stop());

    it('with credentials and its certificate authority; nobody else learns the password', async () => {
      const args: string[] = [];
      const look = setInterval(() => args.push(program('ps', ['-eo', 'args'])), 20);
      const job = service.import({ name: 'private', source: source() });
      const image = await imageOf(job).finally(() => clearInterval(look));
      expect(image.source).toMatch(new RegExp(`^${registry.name}/team/box:1@sha256:[0-9a-f]{64}$`));
      expect(image.digest).toBe((await imageOf(service.importFile('box:1', at('box.oci.tar'), 'oci-archive'))).digest);
      const secrets = [registry.password, Buffer.from(`${registry.username}:${registry.password}`).toString('base64')];
      expect(args.some((text) => text.includes('skopeo'))).toBe(true);
      for (const secret of secrets) {
        expect(args.join('\n')).not.toContain(secret);
        expect(service.log.join('\n')).not.toContain(secret);
        expect(JSON.stringify(await job)).not.toContain(secret);
      }
    });

    it('when its digest is the expected one', async () => {
      const found = /@(sha256:.*)/.exec(
        (await imageOf(service.import({ name: 'private', source: source() }))).source,
      )![1]!;
      await imageOf(service.import({ name: 'private', source: source(), expectedDigest: found }));
      const reference = `${registry.name}/team/box@${found}`;
      await imageOf(service.import({ name: 'pinned', source: source({ reference }) }));
      const other = `sha256:${'1'.repeat(64)}`;
      expect(await service.import({ name: 'bad', source: source(), expectedDigest: other })).toMatchObject({
        state: 'failed',
        code: 'invalid',
        message: expect.stringContaining(other),
      });
    });

    it('insecurely only when told so', async () => {
      const { caPem: _, ...without } = source();
      expect(await service.import({ name: 'bad', source: without })).toMatchObject({
        state: 'failed',
        code: 'unavailable',
        message: expect.stringContaining('certificate authority'),
      });
      await imageOf(service.import({ name: 'insecure', source: { ...without, insecure: true } }));
    });

    it('the image for linux/amd64 of several', async () => {
      const index = at('index');
      busyboxImage(index);
      busyboxImage(at('index-arm'), { architecture: 'arm64' });
      program('cp', ['-rn', `${at('index-arm')}/blobs`, index]);
      const manifest = (name: string): { digest: string } =>
        (JSON.parse(readFileSync(join(name, 'index.json'), 'utf8')) as { manifests: { digest: string }[] })
          .manifests[0]!;
      const entries = [
        { ...manifest(at('index-arm')), annotations: undefined, platform: { os: 'linux', architecture: 'arm64' } },
        { ...manifest(index), annotations: undefined, platform: { os: 'linux', architecture: 'amd64' } },
      ];
      const put = (name: string, manifests: unknown[]): void => {
        const list = JSON.stringify({
          schemaVersion: 2,
          mediaType: 'application/vnd.oci.image.index.v1+json',
          manifests,
        });
        const digest = createHash('sha256').update(list).digest('hex');
        writeFileSync(join(index, 'blobs/sha256', digest), list);
        const entry = {
          mediaType: 'application/vnd.oci.image.index.v1+json',
          digest: `sha256:${digest}`,
          size: list.length,
        };
        const annotations = { 'org.opencontainers.image.ref.name': 'image' };
        writeFileSync(
          join(index, 'index.json'),
          JSON.stringify({ schemaVersion: 2, manifests: [{ ...entry, annotations }] }),
        );
        registry.push(`oci:${index}:image`, name);
      };
      put('team/several:1', entries);
      const reference = `${registry.name}/team/several:1`;
      const image = await imageOf(service.import({ name: 'several', source: source({ reference }) }));
      expect(image.source).toContain(entries[1]!.digest);
      put('team/others:1', entries.slice(0, 1));
      const others = source({ reference: `${registry.name}/team/others:1` });
      expect(await service.import({ name: 'bad', source: others })).toMatchObject({
        state: 'failed',
        code: 'unsupported',
        message: expect.stringMatching(/linux\/amd64.*linux\/arm64/),
      });
    });

    it.each<[string, () => object, string, RegExp]>([
      ['the wrong password', () => source({ password: 'guess' }), 'unauthorized', /credentials/],
      ['no password', () => source({ username: undefined, password: undefined }), 'unauthorized', /credentials/],
      ['no such image', () => source({ reference: `${registry.name}/team/none:1` }), 'notFound', /no such image/],
      [
        'no registry in the name',
        () => source({ reference: 'alpine:3.20' }),
        'invalid',
        /registry\.example\/alpine:3\.20/,
      ],
      ['a name that is none', () => source({ reference: '--help/x' }), 'invalid', /./],
    ])('%s: refused', async (_, make, code, message) => {
      const request = { name: 'bad', source: make() as ReturnType<typeof source> };
      expect(await service.import(request)).toMatchObject({
        state: 'failed',
        code,
        message: expect.stringMatching(message),
      });
    });

    it('that is down: says so', async () => {
      const gone = source();
      await registry.stop();
      expect(await service.import({ name: 'bad', source: gone })).toMatchObject({
        state: 'failed',
        code: 'unavailable',
        message: expect.stringMatching(/registry cannot be reached/),
      });
    });
  });

  describe('keeps house:', () => {
    const collect = (dryRun = false) => service.bus.call(collectImages, { dryRun });
    const tree = async (name: string): Promise<Image & { manifest: LinuxManifest }> => {
      mkdirSync(at('house'), { recursive: true });
      writeFileSync(at('house/name'), name);
      program('tar', ['-cf', at(`${name}.tar`), '-C', at('house'), 'name']);
      return imageOf(service.importFile(name, at(`${name}.tar`), 'rootfs'));
    };

    it('content goes when no image and no microVM uses it', async () => {
      const [kept, run, gone] = [await tree('kept'), await tree('run'), await tree('gone')];
      await collect();
      const id = sortableId(Date.now(), Buffer.alloc(10, 7));
      const spec = MicrovmSpec.parse({ image: `run@${run.digest}` });
      const journal = await openMicrovmJournal(service.nc, () => undefined);
      const occasion = {
        commandId: 'c1',
        cause: { kind: 'operator' as const, by: 'test' },
        at: Date.now(),
        microvmId: id,
      };
      const birth = decideEvents(
        null,
        [{ type: 'requested', spec, requestedAt: Date.now(), specHash: 'x' }, { type: 'placementStarted' }],
        occasion,
      );
      if (birth.kind !== 'record') throw new Error('not born');
      await journal.append(microvmHistory(id), birth.record, { commandId: 'c1', expectedSequence: 0 });
      expect(await service.bus.call(removeImage, { name: 'run' })).toEqual({ removed: true });
      expect(await service.bus.call(removeImage, { name: 'gone' })).toEqual({ removed: true });
      expect(await service.bus.call(removeImage, { name: 'gone' })).toEqual({ removed: false });
      const bytes = gone.manifest.root.blob.bytes;
      const dry = await collect(true);
      expect(dry).toMatchObject({ blobs: 2 });
      expect(dry.bytes).toBeGreaterThan(bytes);
      expect(await collect()).toEqual(dry);
      expect(await collect()).toMatchObject({ blobs: 0, bytes: 0 });
      const blobs = await BlobStore.open(service.nc);
      expect(await blobs.has(gone.manifest.root.blob.digest)).toBe(false);
      for (const image of [kept, run]) {
        expect(await blobs.has(image.manifest.root.blob.digest)).toBe(true);
        expect(await blobs.has(image.digest)).toBe(true);
      }
    });

    it('names of images built with Volley are not given away', async () => {
      const source = { type: 'debian-kernel' as const };
      await expect(service.bus.call(importImage, { name: 'canary', source })).rejects.toMatchObject({
        code: 'invalid',
      });
    });

    it('nobody knows an import that never was', async () => {
      await expect(service.bus.call(imageJob, { id: 'x' })).rejects.toMatchObject({ code: 'notFound' });
    });

    it('a service that ends fails its imports, and leaves nothing', async () => {
      writeFileSync(at('bin/mksquashfs'), '#!/bin/sh\nexec sleep 60\n', { mode: 0o755 });
      try {
        program('tar', ['-cf', at('slow.tar'), '-C', layout, '.']);
        const uploadId = await service.upload(at('slow.tar'));
        const { job } = await service.bus.call(importImage, {
          name: 'slow',
          source: { type: 'upload', uploadId, format: 'rootfs' },
        });
        while (service.workFolders().length === 0) await new Promise((resolve) => setTimeout(resolve, 20));
        await service.restart();
        expect(await service.over(job.id)).toMatchObject({
          state: 'failed',
          code: 'unavailable',
          message: expect.stringContaining('import it again'),
        });
      } finally {
        rmSync(at('bin/mksquashfs'));
      }
    });

    // Too little for the upload, for the layers, for the files, for the packed file system.
    it.each<[number, 'oci-archive' | 'rootfs']>([
      [1024, 'oci-archive'],
      [2048, 'oci-archive'],
      [3072, 'oci-archive'],
      [4096, 'oci-archive'],
      [3072, 'rootfs'],
    ])('a disk of %i KiB is full of an %s, says so, and is emptied', async (kib, format) => {
      writeFileSync(at('house/name'), randomBytes(2_000_000));
      program('tar', ['-cf', at('large.tar'), '-C', at('house'), 'name']);
      const tight = at('tight');
      mkdirSync(tight, { recursive: true });
      try {
        program('mount', ['-t', 'tmpfs', '-o', `size=${kib}k`, 'tmpfs', tight]);
      } catch (error) {
        return void process.stderr.write(`SKIPPED: a full disk: ${(error as Error).message.split('\n')[0]}\n`);
      }
      try {
        await service.restart(tight);
        expect(
          await service.importFile('bad', at(format === 'rootfs' ? 'large.tar' : 'box.oci.tar'), format),
        ).toMatchObject({
          state: 'failed',
          code: 'refused',
          message: expect.stringMatching(/no room/i),
        });
        expect(program('find', [tight, '-type', 'f'])).toBe('');
      } finally {
        await service.restart();
        program('umount', [tight]);
      }
    });
  });
});
