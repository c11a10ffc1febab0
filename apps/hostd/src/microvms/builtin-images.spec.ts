import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MicrovmSpec } from '#protocol';
import { BuiltinImageStore } from './builtin-images';

describe('the built-in canary', () => {
  const folder = mkdtempSync(join(tmpdir(), 'volley-canary-'));
  const kernel = join(folder, 'canary.bin');
  const withDrivers = join(folder, 'canary-devices.bin');
  writeFileSync(kernel, '');
  const store = new BuiltinImageStore({ canary: { kernel, withDrivers } });
  const spec = (more: object) => MicrovmSpec.parse({ image: 'canary', memoryMiB: 8, ...more });

  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('has drivers only where it has devices', async () => {
    writeFileSync(withDrivers, '');
    expect((await store.resolve(spec({}))).kernelPath).toBe(kernel);
    for (const devices of [{ rng: true }, { network: {} }, { disks: [{ sizeMiB: 1 }] }, { vsock: true }]) {
      expect((await store.resolve(spec(devices))).kernelPath).toBe(withDrivers);
    }
  });

  it('is refused when its file is not the one that was built', async () => {
    writeFileSync(`${kernel}.sha256`, `${'0'.repeat(64)}  -\n`);
    await expect(store.resolve(spec({}))).rejects.toMatchObject({
      name: 'ImageUnavailableError',
      message: expect.stringMatching(/^image canary: .*canary\.bin is damaged.*volley build/),
    });
    rmSync(`${kernel}.sha256`);
    expect((await store.resolve(spec({}))).kernelPath).toBe(kernel);
  });

  it('is refused with a reason where its drivers have no room, or are missing', () => {
    expect(store.refuses(spec({ rng: true, memoryMiB: 3 }))).toContain('needs at least 4 MiB');
    rmSync(withDrivers);
    expect(store.refuses(spec({ rng: true }))).toContain('canary-devices.bin is missing');
    expect(store.refuses(spec({}))).toBeUndefined();
  });
});
