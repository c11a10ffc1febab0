import { join } from 'node:path';
import { ImageError } from '#images';
import {
  fetchKernelPackage,
  KernelUnavailableError,
  unpackKernelPackage,
  type KernelModule,
  type KernelPackage,
} from '#kernel-package';
import { headOf } from '../programs/compression';
import { ProgramError } from '../programs/run-program';
import { run, type ImportContext } from '../import/import-context';
import { KERNEL_HEAD_BYTES, kernelFile } from './boot-image';
import { guestModules } from './guest-modules';
import { writeGuestInitrd } from './guest-initrd';
import { vmlinuxOf } from './vmlinux';

/** A kernel that an import has made ready, as files in its folder. */
export interface ImportedKernel {
  release: string;
  vmlinux: string;
  initrd: string;
  modules: string[];
  source: string;
}

export interface KernelOptions {
  /** Volley's init for guests. */
  initPath: string;
  /** Where Debian's kernels are kept once they are fetched. */
  cacheFolder: string;
}

/** A kernel of the distribution, fetched with its own package tools, which check where it comes from. @throws ImageError */
export async function importDebianKernel(
  context: ImportContext,
  options: KernelOptions,
  packageName: string | undefined,
): Promise<ImportedKernel> {
  context.say(`fetching Debian's kernel${packageName === undefined ? '' : ` ${packageName}`}`);
  try {
    const kernel = await fetchKernelPackage({
      cacheFolder: options.cacheFolder,
      ...(packageName === undefined ? {} : { packageName }),
    });
    return await ofPackage(context, options, kernel, `Debian package ${kernel.name}`);
  } catch (error) {
    if (!(error instanceof KernelUnavailableError)) throw error;
    throw new ImageError('registryAway', error.message);
  }
}

/** A bzImage, a vmlinux or a Debian package that was uploaded. @throws ImageError */
export async function importKernelFile(
  context: ImportContext,
  options: KernelOptions,
  file: { path: string; title: string },
): Promise<ImportedKernel> {
  const { kind } = kernelFile(await headOf(file.path, KERNEL_HEAD_BYTES), file.title);
  if (kind === 'package') return importPackageFile(context, options, file);
  // Alone, it has no modules: what an image needs is built in, or the image does not come up.
  const { path: vmlinux, release } = await vmlinuxOf(context, file.path, file.title);
  const initrd = writeGuestInitrd(context.folder, options.initPath, []);
  return { release, vmlinux, initrd: initrd.path, modules: [], source: file.title };
}

async function importPackageFile(
  context: ImportContext,
  options: KernelOptions,
  file: { path: string; title: string },
): Promise<ImportedKernel> {
  context.say('unpacking the package');
  const architecture = await run(context, {
    program: 'dpkg-deb',
    package: 'dpkg',
    args: ['--field', file.path, 'Architecture'],
    deadlineMs: 60_000,
  }).catch((error: unknown) => {
    if (!(error instanceof ProgramError)) throw error;
    throw new ImageError('corrupted', `${file.title} is no package that can be read: ${error.message}`);
  });
  if (architecture.trim() !== 'amd64') {
    throw new ImageError('wrongArchitecture', `${file.title} is for ${architecture.trim()}; microVMs run linux/amd64`);
  }
  try {
    const kernel = await unpackKernelPackage(file.path, join(context.folder, 'package'));
    return await ofPackage(context, options, kernel, file.title);
  } catch (error) {
    if (!(error instanceof KernelUnavailableError)) throw error;
    throw new ImageError('corrupted', `${file.title} holds no kernel: ${error.message}`);
  }
}

async function ofPackage(
  context: ImportContext,
  options: KernelOptions,
  kernel: KernelPackage,
  source: string,
): Promise<ImportedKernel> {
  const modules: KernelModule[] = guestModules(kernel);
  const { path: vmlinux } = await vmlinuxOf(context, kernel.image, `the kernel ${kernel.release}`);
  const initrd = writeGuestInitrd(context.folder, options.initPath, modules);
  return { release: kernel.release, vmlinux, initrd: initrd.path, modules: initrd.modules, source };
}
