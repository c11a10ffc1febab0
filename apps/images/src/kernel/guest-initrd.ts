import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';
import { writeCpioArchive } from '#cpio';
import { ImageError } from '#images';
import type { KernelModule } from '#kernel-package';

export const MODULES_FOLDER = '/volley/modules';

/**
 * Writes the initial ram disk that a kernel starts with: Volley's init and the modules it loads. Gives the modules' paths in it, in
 * the order in which they are to be loaded.
 *
 * @throws ImageError `cannot` when init is not built.
 */
export function writeGuestInitrd(
  folder: string,
  initPath: string,
  modules: readonly KernelModule[],
): { path: string; modules: string[] } {
  try {
    accessSync(initPath, constants.R_OK);
  } catch {
    throw new ImageError('cannot', `Volley's init for guests is not at ${initPath}; build it: npm run build:native`);
  }
  const files = modules.map(({ name, content }) => ({ path: `${MODULES_FOLDER}/${name}.ko`, content }));
  const path = join(folder, 'initrd');
  writeCpioArchive(path, [
    { path: '/init', mode: 0o755, from: initPath },
    ...['/dev', '/proc', '/sys'].map((one) => ({ path: one, folder: true as const })),
    // The kernel opens it for init before anything is mounted.
    { path: '/dev/console', characterDevice: { major: 5, minor: 1 } },
    ...files,
  ]);
  return { path, modules: files.map((file) => file.path) };
}
