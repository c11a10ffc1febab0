import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { ImageError } from '#images';
import { kernelModules, KernelUnavailableError, type KernelModule, type KernelPackage } from '#kernel-package';

/** Without one of these, built in or as a module, no image comes up. */
const NEEDED = ['virtio_mmio', 'virtio_blk', 'overlay', 'squashfs'];
/** What makes a microVM whole, as far as the kernel has it. */
const WANTED = [
  // First: ext4 and erofs ask for it by the name of the algorithm, which no list of dependencies has.
  ...['crc32c_generic', 'crc32c-intel'],
  ...['virtio_net', 'virtio_balloon', 'virtio-rng', 'vsock', 'vmw_vsock_virtio_transport'],
  ...['erofs', 'ext4'],
  // Tells the host of a panic; the power button.
  ...['pvpanic-mmio', 'button', 'evdev'],
];

/**
 * The modules that a guest loads before it has a root file system, in the order in which they can be loaded, with what they depend on.
 * What is built in is left out.
 *
 * @throws ImageError `notUnderstood` when the kernel lacks what every image needs.
 */
export function guestModules(kernel: KernelPackage): KernelModule[] {
  const builtin = builtinModules(kernel.modules);
  const loadable = loadableModules(kernel.modules);
  const missing = NEEDED.filter((name) => !builtin.has(canonical(name)) && !loadable.has(canonical(name)));
  if (missing.length > 0) {
    throw new ImageError(
      'notUnderstood',
      `kernel ${kernel.release} has no ${missing.join(', ')}: no image would come up on it`,
    );
  }
  const names = [...WANTED.slice(0, 2), ...NEEDED, ...WANTED.slice(2)].filter((name) => loadable.has(canonical(name)));
  try {
    return kernelModules(kernel, names);
  } catch (error) {
    if (!(error instanceof KernelUnavailableError)) throw error;
    throw new ImageError('corrupted', error.message);
  }
}

function builtinModules(folder: string): Set<string> {
  const list = join(folder, 'modules.builtin');
  const lines = existsSync(list) ? readFileSync(list, 'utf8').split('\n') : [];
  return new Set(lines.filter((line) => line !== '').map((line) => nameOf(line)));
}

function loadableModules(folder: string): Set<string> {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  return new Set(files.filter((path) => /\.ko(\.xz|\.zst)?$/.test(path)).map(nameOf));
}

function nameOf(path: string): string {
  return canonical(basename(path).replace(/\.ko.*$/, ''));
}

function canonical(name: string): string {
  return name.replaceAll('-', '_');
}
