import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { InitConfigError } from './errors';
import { encodeInitConfig, type InitConfig } from './init-config';
import { initrdExtra } from './initrd-extra';

const records = (config: InitConfig): string[] => encodeInitConfig(config).toString().split('\0').slice(0, -1);

describe('encodeInitConfig', () => {
  it('says every field', () => {
    const config: InitConfig = {
      root: { device: '/dev/vda', type: 'squashfs' },
      overlay: '/dev/vdb',
      mounts: [
        { device: '/dev/vdc', path: '/data', type: 'ext4', readOnly: false },
        { device: '/dev/vdd', path: '/ref', type: 'erofs', readOnly: true },
      ],
      args: ['/bin/sh', '-c', 'echo "a\nb"'],
      env: ['PATH=/bin', 'EMPTY=', 'EQUALS=a=b'],
      user: 'app:staff',
      workdir: '/srv',
      hostname: 'one',
      interfaces: [{ mac: '02:00:00:00:00:01', address: '10.0.0.2', prefix: 31, gateway: '10.0.0.1', mtu: 1500 }],
      dns: ['192.0.2.53'],
      modules: ['/volley/modules/virtio_blk.ko'],
      onExit: 'stay',
      graceMs: 500,
      time: 1_700_000_000.9,
    };
    expect(records(config)).toEqual(
      [
        ['root', '/dev/vda', 'root.type', 'squashfs', 'overlay', '/dev/vdb'],
        ['mount', '/dev/vdc:/data:ext4:rw', 'mount', '/dev/vdd:/ref:erofs:ro'],
        ['module', '/volley/modules/virtio_blk.ko'],
        ['arg', '/bin/sh', 'arg', '-c', 'arg', 'echo "a\nb"'],
        ['env', 'PATH=/bin', 'env', 'EMPTY=', 'env', 'EQUALS=a=b'],
        ['user', 'app:staff', 'cwd', '/srv', 'hostname', 'one'],
        ['net', '02:00:00:00:00:01 10.0.0.2/31 10.0.0.1 1500', 'dns', '192.0.2.53'],
        ['on.exit', 'stay', 'grace', '500', 'time', '1700000000'],
      ].flat(),
    );
  });

  it('leaves out what is not said', () => {
    expect(encodeInitConfig({ user: '', workdir: '' })).toHaveLength(0);
    expect(records({ interfaces: [{ mac: '02:00:00:00:00:01', address: '10.0.0.2', prefix: 24 }] })[1]).toBe(
      '02:00:00:00:00:01 10.0.0.2/24 - 0',
    );
  });

  it.each<[string, InitConfig]>([
    ['a NUL byte', { args: ['a\0b'] }],
    ['a variable without a name', { env: ['=x'] }],
    ['a colon in a mount', { mounts: [{ device: '/dev/vdc', path: '/a:b', type: 'ext4', readOnly: true }] }],
    ['a MAC that is none', { interfaces: [{ mac: 'x', address: '10.0.0.2', prefix: 24 }] }],
    ['an address that is none', { interfaces: [{ mac: '02:00:00:00:00:01', address: '::1', prefix: 24 }] }],
    ['too much', { args: ['x'.repeat(1024 * 1024)] }],
  ])('refuses %s', (_, config) => expect(() => encodeInitConfig(config)).toThrow(InitConfigError));
});

const hasCpio = spawnSync('cpio', ['--version']).status === 0;
if (!hasCpio) process.stderr.write('SKIPPED: unpacking the archive for init: cpio is not installed\n');

describe('initrdExtra', () => {
  it('is padded to whole words and ends with the trailer', () => {
    for (const hostname of ['a', 'ab', 'abc', 'abcd']) {
      const archive = initrdExtra({ hostname });
      expect(archive.length % 4).toBe(0);
      expect(archive.toString()).toContain('TRAILER!!!');
    }
  });

  (hasCpio ? it : it.skip)('is an archive as others read it', () => {
    const folder = mkdtempSync(join(tmpdir(), 'volley-cpio-'));
    try {
      const config = { args: ['/bin/true'], env: ['A=ä'] };
      const { status, stderr } = spawnSync('cpio', ['-idm', '--quiet'], { cwd: folder, input: initrdExtra(config) });
      expect({ status, stderr: stderr.toString() }).toEqual({ status: 0, stderr: '' });
      expect(readFileSync(join(folder, 'volley/config'))).toEqual(encodeInitConfig(config));
      expect(statSync(join(folder, 'volley/config')).mode & 0o777).toBe(0o400);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
