import { mkdirSync, mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { cachedKernelPackage } from '#kernel-package';
import type { Image, ImageJob, Microvm, Receipt } from '#protocol';
import { Fleet, until } from '../support/fleet';
import { natsServerMissing } from '../support/nats-server';
import { busyboxImage, missingProgram, OCI_PROGRAMS } from '../support/oci-image';

jest.setTimeout(180_000);

const kernels = join(__dirname, '../../.volley/cache/kernels');
const obstacle =
  natsServerMissing() ??
  missingProgram(OCI_PROGRAMS) ??
  (process.getuid?.() === 0 ? undefined : 'layers are unpacked as root only') ??
  (cachedKernelPackage({ cacheFolder: kernels }) ? undefined : `no Debian kernel in ${kernels}`);
if (obstacle) process.stderr.write(`SKIPPED: images from end to end: ${obstacle}\n`);

(obstacle ? describe.skip : describe)('images from end to end', () => {
  let fleet: Fleet;
  let folder: string;
  let image: Image;
  const path = process.env['PATH'];

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'volley-images-e2e-'));
    busyboxImage(join(folder, 'layout'), { command: ['echo', 'hello'] });
    // No package is looked for in a test: the kernel of the cache is taken.
    mkdirSync(join(folder, 'bin'));
    writeFileSync(join(folder, 'bin/apt-cache'), '#!/bin/sh\nexit 1\n', { mode: 0o755 });
    process.env['PATH'] = `${join(folder, 'bin')}${delimiter}${path}`;
    fleet = await Fleet.up('--no-canary');
  });
  afterAll(async () => {
    process.env['PATH'] = path;
    await fleet?.down();
    rmSync(folder, { recursive: true, force: true });
  });

  it('an OCI layout becomes an image with the kernel of the distribution', async () => {
    const { stdout } = await fleet.volley('image', 'import', join(folder, 'layout'), '--name', 'box:1', '--json');
    image = (JSON.parse(stdout) as ImageJob).image!;
    expect(image.manifest).toMatchObject({ kind: 'linux', run: { command: ['echo', 'hello'] } });
    expect(image.manifest.kind === 'linux' && image.manifest.kernel.modules).toEqual(
      expect.arrayContaining(['/volley/modules/virtio_mmio.ko', '/volley/modules/overlay.ko']),
    );
    // With as little memory as a microVM is given when nobody says how much.
    expect(image.manifest.kind === 'linux' && image.manifest.minMemoryMiB).toBeLessThanOrEqual(128);
    const list = (await fleet.volley('image', 'ls')).stdout;
    expect(list).toMatch(/^box:1 +linux /m);
    expect(list).toMatch(/^debian-kernel +kernel /m);
  });

  it('a microVM is pinned to what the name stands for, and found by the name', async () => {
    const { status, body } = await fleet.rest<Microvm>('POST', '/v1/microvms', { image: 'box:1' });
    expect(status).toBe(202);
    expect(body.image).toBe(`box:1@${image.digest}`);
    const found = await fleet.rest<{ items: Microvm[] }>('GET', '/v1/microvms?image=box:1');
    expect(found.body.items.map(({ id }) => id)).toEqual([body.id]);
    // Where a host boots stock Linux it runs; else the receipt says why not.
    await until('it is placed, or not', async () => (await fleet.get(body.id)).state !== 'placing');
    const { receipts } = (await fleet.rest<{ receipts: Receipt[] }>('GET', `/v1/microvms/${body.id}/placement`)).body;
    expect(receipts[0]!.demand.image).toBe(body.image);
    const unknown = await fleet.rest('POST', '/v1/microvms', { image: 'nothing' });
    expect(unknown).toMatchObject({ status: 422, body: { detail: expect.stringContaining('canary, box:1') } });
    const kernel = await fleet.rest('POST', '/v1/microvms', { image: 'debian-kernel' });
    expect(kernel).toMatchObject({ status: 422, body: { detail: expect.stringContaining('kernel') } });
    // Its content stays while it exists, whatever becomes of the name.
    await fleet.volley('image', 'rm', 'box:1');
    const collect = async (): Promise<unknown> =>
      JSON.parse((await fleet.volley('image', 'gc', '--json')).stdout) as unknown;
    expect(await collect()).toMatchObject({ blobs: 0 });
    await fleet.rest('DELETE', `/v1/microvms/${body.id}?wait=deleted`);
    // The root and the manifest; the kernel has a name of its own.
    expect(await collect()).toMatchObject({ blobs: 2 });
  });

  it('an import whose service is killed is failed, and nothing of it stays', async () => {
    writeFileSync(join(folder, 'bin/umoci'), '#!/bin/sh\nexec sleep 60\n', { mode: 0o755 });
    await fleet.volley('down');
    await fleet.up('--no-canary');
    const started = await fleet.volley('image', 'import', join(folder, 'layout'), '--name', 'box:2', '--no-wait');
    const job = `/v1/image-jobs/${started.stdout.trim()}`;
    await until('it unpacks', async () =>
      (await fleet.rest<ImageJob>('GET', job)).body.message.startsWith('unpacking'),
    );
    await fleet.kill9('volley-images');
    await until('it is failed', async () => (await fleet.rest<ImageJob>('GET', job)).body.state === 'failed');
    expect((await fleet.rest<ImageJob>('GET', job)).body).toMatchObject({ code: 'unavailable' });
    const here = (pid: string): boolean => {
      try {
        return readlinkSync(`/proc/${pid}/cwd`).startsWith(join(fleet.data, 'images'));
      } catch {
        return false;
      }
    };
    const left = () => readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && here(pid));
    await until('nothing works on it any more', () => Promise.resolve(left().length === 0));
    const work = join(fleet.data, 'images/work');
    expect(readdirSync(work).flatMap((one) => readdirSync(join(work, one)))).toEqual([]);
    rmSync(join(folder, 'bin/umoci'));
    await fleet.volley('image', 'import', join(folder, 'layout'), '--name', 'box:2');
  });
});
