import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  cachedKernelPackage,
  fetchKernelPackage,
  fetchKernelPackageSync,
  KernelUnavailableError,
  kernelModules,
  unpackKernelPackage,
} from '.';

describe('kernel packages', () => {
  let cacheFolder: string;
  const path = process.env.PATH;
  beforeEach(() => (cacheFolder = mkdtempSync(join(tmpdir(), 'volley-kernels-'))));
  afterEach(() => {
    process.env.PATH = path;
    rmSync(cacheFolder, { recursive: true, force: true });
  });

  const unpacked = (release: string): void => {
    const folder = join(cacheFolder, `linux-image-${release}`);
    mkdirSync(join(folder, 'boot'), { recursive: true });
    writeFileSync(join(folder, 'boot', `vmlinuz-${release}`), '');
    mkdirSync(join(folder, 'lib/modules', release), { recursive: true });
  };
  /** Package tools that answer what a test wants. */
  const tools = (programs: Record<string, string>): void => {
    const folder = join(cacheFolder, 'bin');
    mkdirSync(folder);
    for (const [name, script] of Object.entries(programs)) {
      writeFileSync(join(folder, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    }
    process.env.PATH = `${folder}:/usr/bin:/bin`;
  };

  it('come from the cache, the newest of a flavour, with no package tools at all', async () => {
    for (const release of ['6.1.0-9-cloud-amd64', '6.1.0-56-cloud-amd64', '6.1.0-60-amd64', '6.1.0-70-rt-amd64']) {
      unpacked(release);
    }
    process.env.PATH = '';
    expect((await fetchKernelPackage({ cacheFolder })).release).toBe('6.1.0-56-cloud-amd64');
    expect(fetchKernelPackageSync({ cacheFolder, flavour: 'generic' })).toEqual({
      name: 'linux-image-6.1.0-60-amd64',
      release: '6.1.0-60-amd64',
      image: join(cacheFolder, 'linux-image-6.1.0-60-amd64/boot/vmlinuz-6.1.0-60-amd64'),
      modules: join(cacheFolder, 'linux-image-6.1.0-60-amd64/lib/modules/6.1.0-60-amd64'),
    });
  });

  it('are taken by name, with or without package tools', async () => {
    for (const release of ['6.1.0-9-amd64', '6.1.0-60-amd64']) unpacked(release);
    process.env.PATH = '';
    const packageName = 'linux-image-6.1.0-9-amd64';
    expect((await fetchKernelPackage({ cacheFolder, packageName })).name).toBe(packageName);
    expect((await fetchKernelPackage({ cacheFolder, packageName: 'linux-image-amd64' })).release).toBe(
      '6.1.0-60-amd64',
    );
    await expect(fetchKernelPackage({ cacheFolder, packageName: 'linux-image-6.1.0-1-amd64' })).rejects.toThrow(
      /linux-image-6.1.0-1-amd64 could not be fetched/,
    );
  });

  it('are missed with the reason and what to do', async () => {
    process.env.PATH = '';
    await expect(fetchKernelPackage({ cacheFolder })).rejects.toThrow(KernelUnavailableError);
    await expect(fetchKernelPackage({ cacheFolder })).rejects.toThrow(/apt-get update/);
    expect(cachedKernelPackage({ cacheFolder: '/nowhere' })).toBeUndefined();
  });

  it('leave nothing of a download that fails, and say what the tool said', async () => {
    tools({
      'apt-cache': 'echo "  Depends: linux-image-6.1.0-99-cloud-amd64"',
      'apt-get': 'touch half.deb; echo "E: no route to host" >&2; exit 100',
    });
    await expect(fetchKernelPackage({ cacheFolder })).rejects.toThrow(
      /linux-image-6.1.0-99-cloud-amd64.*no route to host/,
    );
    expect(readdirSync(cacheFolder)).toEqual(['bin']);
  });

  it('are unpacked once the download is whole', async () => {
    tools({
      'apt-cache': 'echo "  Depends: linux-image-6.1.0-99-amd64"',
      'apt-get': 'touch linux-image.deb',
      dpkg: 'mkdir -p "$3/boot" "$3/lib/modules/6.1.0-99-amd64" && touch "$3/boot/vmlinuz-6.1.0-99-amd64"',
    });
    const kernel = await fetchKernelPackage({ cacheFolder, flavour: 'generic' });
    expect(kernel.name).toBe('linux-image-6.1.0-99-amd64');
    expect(readdirSync(cacheFolder).sort()).toEqual(['bin', kernel.name]);
    expect(cachedKernelPackage({ cacheFolder, flavour: 'generic' })).toEqual(kernel);
  });

  it('are refused when they hold no kernel', async () => {
    tools({ dpkg: 'exit 0' });
    await expect(unpackKernelPackage('some.deb', join(cacheFolder, 'out'))).rejects.toThrow(/no kernel image/);
    expect(readdirSync(cacheFolder)).toEqual(['bin']);
  });

  it('bring modules behind those that they depend on', () => {
    unpacked('6.1.0-1-amd64');
    const kernel = fetchCached();
    const module = (name: string, depends: string): void =>
      writeFileSync(join(kernel.modules, `${name}.ko`), `\0depends=${depends}\0`);
    module('kvm-amd', 'kvm,ccp');
    module('kvm', 'irqbypass');
    module('irqbypass', '');
    module('ccp', '');
    expect(kernelModules(kernel, ['kvm_amd']).map(({ name }) => name)).toEqual(['irqbypass', 'kvm', 'ccp', 'kvm-amd']);
    expect(() => kernelModules(kernel, ['tun'])).toThrow(KernelUnavailableError);
  });

  function fetchCached() {
    return cachedKernelPackage({ cacheFolder, flavour: 'generic' })!;
  }
});
