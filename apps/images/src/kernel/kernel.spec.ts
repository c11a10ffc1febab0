import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cachedKernelPackage, describeKernelPackage } from '#kernel-package';
import { findProgram } from '../../../../test/support/oci-image';
import { headOf } from '../programs/compression';
import { bzImage, elfKernel, kernelPackage, PACKINGS } from '../testing/kernels';
import type { ImportContext } from '../import/import-context';
import { requireElf } from './boot-image';
import { guestModules } from './guest-modules';
import { importKernelFile } from './import-kernel';
import { vmlinuxOf } from './vmlinux';

let folder: string;
let context: ImportContext;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'volley-kernel-'));
  context = {
    folder,
    signal: new AbortController().signal,
    maxBytes: 1 << 30,
    registryMs: 60_000,
    say: () => undefined,
  };
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const file = (content: Buffer): string => {
  writeFileSync(join(folder, 'kernel'), content);
  return join(folder, 'kernel');
};

describe('a bzImage', () => {
  it.each(PACKINGS)('packed with %s gives its vmlinux', async (packing) => {
    const program = packing === 'lzma' ? 'xz' : packing;
    if (!findProgram(program)) return void process.stderr.write(`SKIPPED: a kernel packed with ${packing}\n`);
    const { path, release } = await vmlinuxOf(context, file(bzImage('6.1.0-9-amd64', packing)), 'it');
    expect(release).toBe('6.1.0-9-amd64');
    expect(readFileSync(path).equals(elfKernel('6.1.0-9-amd64'))).toBe(true);
  });

  it.each<[string, (image: Buffer) => Buffer, string]>([
    ['that is cut off', (image) => image.subarray(0, image.length - 2_000), 'corrupted'],
    ['that is damaged', (image) => (image.fill(0x55, 15_600, 16_000), image), 'corrupted'],
    [
      'packed in no known way',
      (image) => (image.fill(0x11, 28 * 512 + 1_000, 28 * 512 + 1_010), image),
      'notUnderstood',
    ],
    ['with something else inside', () => bzImage('6', 'zstd', Buffer.alloc(10_000, 'x')), 'corrupted'],
    ['for 32 bits', () => bzImage('6', 'zstd', elfKernel('6', 3)), 'wrongArchitecture'],
    ['of old', (image) => (image.writeUInt16LE(0x207, 0x206), image), 'notUnderstood'],
  ])('%s is refused', async (_, change, failure) => {
    await expect(vmlinuxOf(context, file(change(bzImage('6.1.0', 'zstd'))), 'it')).rejects.toMatchObject({ failure });
  });
});

describe('a kernel file', () => {
  const options = { initPath: process.execPath, cacheFolder: '/nowhere' };

  it('may be a vmlinux', async () => {
    const initPath = join(folder, 'init');
    writeFileSync(initPath, 'init');
    const kernel = await importKernelFile(
      context,
      { ...options, initPath },
      { path: file(elfKernel('5.10.1')), title: 'it' },
    );
    expect(kernel).toMatchObject({ release: '5.10.1', modules: [], vmlinux: join(folder, 'kernel') });
    expect(readFileSync(kernel.initrd, 'latin1')).toMatch(/^070701.*init/s);
  });

  it.each<[string, Buffer, string]>([
    ['for another architecture', elfKernel('6.1.0', 183), 'wrongArchitecture'],
    ['for arm64', Buffer.concat([Buffer.alloc(56), Buffer.from('ARMd'), Buffer.alloc(2_000)]), 'wrongArchitecture'],
    ['that is text', Buffer.from('#!/bin/sh\n'), 'notUnderstood'],
    ['that is empty', Buffer.alloc(0), 'notUnderstood'],
    ['that says no release', elfKernel('6.1.0').fill(0, 150_000), 'notUnderstood'],
  ])('%s is refused', async (_, content, failure) => {
    await expect(importKernelFile(context, options, { path: file(content), title: 'it' })).rejects.toMatchObject({
      failure,
    });
  });

  it('is not imported without an init for guests', async () => {
    const without = { ...options, initPath: join(folder, 'nowhere') };
    await expect(
      importKernelFile(context, without, { path: file(elfKernel('6.1.0')), title: 'it' }),
    ).rejects.toMatchObject({
      failure: 'cannot',
      message: expect.stringContaining('npm run build:native'),
    });
  });

  (findProgram('dpkg-deb') ? it : it.skip)('that is a broken package is refused', async () => {
    const broken = file(Buffer.from('!<arch>\nnot a package'));
    await expect(importKernelFile(context, options, { path: broken, title: 'it' })).rejects.toMatchObject({
      failure: 'corrupted',
    });
    expect(readdirSync(folder)).toEqual(['kernel']);
  });
});

describe('the modules of a guest', () => {
  it('are loaded behind what they depend on, without what is built in', () => {
    const kernel = describeKernelPackage(kernelPackage(folder, '6.1.0-9-amd64'));
    expect(guestModules(kernel).map(({ name }) => name)).toEqual([
      ...['virtio_ring', 'virtio', 'virtio_mmio', 'virtio_blk', 'squashfs'],
      ...['failover', 'net_failover', 'virtio_net', 'virtio-rng'],
    ]);
  });

  it('are missed when no image would come up without them', () => {
    const kernel = describeKernelPackage(kernelPackage(folder, '6.1.0-9-amd64', ['virtio_blk']));
    expect(() => guestModules(kernel)).toThrow(/has no virtio_blk/);
  });
});

const debian = cachedKernelPackage({ cacheFolder: join(__dirname, '../../../../.volley/cache/kernels') });
if (!debian) process.stderr.write("SKIPPED: Debian's kernel: it is not in .volley/cache/kernels\n");

(debian ? describe : describe.skip)("Debian's kernel", () => {
  it('gives its vmlinux', async () => {
    const { path, release } = await vmlinuxOf(context, debian!.image, 'it');
    expect(release).toBe(debian!.release);
    requireElf(await headOf(path, 64), 'it');
    expect(existsSync(path)).toBe(true);
  });

  it('has every module that a guest needs', () => {
    const names = guestModules(debian!).map(({ name }) => name);
    expect(names).toEqual(
      expect.arrayContaining(['virtio_mmio', 'virtio_blk', 'virtio_net', 'overlay', 'squashfs', 'erofs']),
    );
    for (const needed of ['virtio', 'virtio_ring']) {
      expect(names.indexOf(needed)).toBeLessThan(names.indexOf('virtio_blk'));
    }
    expect(names.indexOf('vsock')).toBeLessThan(names.indexOf('vmw_vsock_virtio_transport'));
    expect(names).not.toContain('ext4'); // built in
  });
});
