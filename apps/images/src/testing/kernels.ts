import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** A vmlinux by its looks: a header and some data that says which Linux it is. */
export function elfKernel(release: string, machine = 62): Buffer {
  const elf = Buffer.alloc(200_000);
  elf.write('\x7fELF', 'latin1');
  elf.set([2, 1, 1], 4);
  elf.writeUInt16LE(2, 16);
  elf.writeUInt16LE(machine, 18);
  for (let i = 64; i < elf.length; i++) elf[i] = (i * 7919) >> 8;
  elf.write(`Linux version ${release} (somebody) #1 SMP\n\0`, 150_000, 'latin1');
  return elf;
}

const PACKERS: Record<string, string[]> = {
  gzip: ['gzip', '-9n'],
  xz: ['xz', '--check=crc32', '--x86', '--lzma2=,dict=1MiB'],
  zstd: ['zstd', '-19', '-q'],
  lz4: ['lz4', '-l', '-9', '-q'],
  lzma: ['lzma', '-9'],
  bzip2: ['bzip2', '-9'],
};
export const PACKINGS = Object.keys(PACKERS);

/** A bzImage by its looks, packed as the kernel's build packs it: payload, then its size unless the format has that itself. */
export function bzImage(release: string, packing: string, vmlinux = elfKernel(release)): Buffer {
  const [program, ...args] = PACKERS[packing]!;
  const packed = execFileSync(program!, args, { input: vmlinux, maxBuffer: 64 << 20, timeout: 30_000 });
  const size = Buffer.alloc(4);
  size.writeUInt32LE(vmlinux.length);
  const payload = packing === 'gzip' ? packed : Buffer.concat([packed, size]);
  const setupSectors = 27;
  const setup = Buffer.alloc((setupSectors + 1) * 512);
  setup[0x1f1] = setupSectors;
  setup.write('HdrS', 0x202, 'latin1');
  setup.writeUInt16LE(0x20f, 0x206);
  setup.writeUInt16LE(0x3000, 0x20e);
  setup.write(`${release} (somebody) #1 SMP\0`, 0x3200, 'latin1');
  const loader = Buffer.alloc(1_000, 0x90);
  setup.writeUInt32LE(loader.length, 0x248);
  setup.writeUInt32LE(payload.length, 0x24c);
  return Buffer.concat([setup, loader, payload, Buffer.alloc(512)]);
}

/** An unpacked kernel package: modules that depend on each other, some of what a guest needs built in. */
export function kernelPackage(cacheFolder: string, release: string, without: readonly string[] = []): string {
  const folder = join(cacheFolder, `linux-image-${release}`);
  const modules = join(folder, 'lib/modules', release);
  mkdirSync(join(folder, 'boot'), { recursive: true });
  mkdirSync(join(modules, 'kernel/drivers'), { recursive: true });
  writeFileSync(join(folder, `boot/vmlinuz-${release}`), bzImage(release, 'lz4'));
  writeFileSync(join(modules, 'modules.builtin'), 'kernel/fs/ext4/ext4.ko\nkernel/fs/overlayfs/overlay.ko\n');
  const depends: Record<string, string> = {
    virtio_ring: '',
    virtio: 'virtio_ring',
    virtio_mmio: 'virtio,virtio_ring',
    virtio_blk: 'virtio,virtio_ring',
    virtio_net: 'net_failover,virtio',
    net_failover: 'failover',
    failover: '',
    squashfs: '',
    'virtio-rng': 'virtio',
    tun: '',
  };
  for (const [name, list] of Object.entries(depends)) {
    if (!without.includes(name))
      writeFileSync(join(modules, 'kernel/drivers', `${name}.ko`), `module ${name}\0depends=${list}\0`);
  }
  return folder;
}
