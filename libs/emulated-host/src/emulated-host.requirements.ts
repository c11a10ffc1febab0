import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fetchKernelPackageSync, type KernelPackage } from '#kernel-package';

/** Everything {@link EmulatedHost} needs from this machine. */
export interface EmulatedHostTools {
  readonly qemu: string;
  /** A statically linked busybox: the user space of the emulated host. */
  readonly busybox: string;
  readonly kernel: KernelPackage;
}

export type Availability =
  | { readonly available: true; readonly tools: EmulatedHostTools }
  | { readonly available: false; readonly reason: string };

/**
 * Looks for QEMU, busybox and the distribution's kernel (fetching it into `cacheFolder` the first time). Never throws:
 * what is missing is named in `reason`, together with the package to install, so that a test can be skipped aloud.
 */
export function findEmulatedHostTools(cacheFolder: string): Availability {
  if (process.arch !== 'x64') return { available: false, reason: `no emulated host for ${process.arch}` };
  const qemu = findProgram('qemu-system-x86_64');
  if (qemu === undefined) return missing('qemu-system-x86_64', 'qemu-system-x86');
  const busybox = findProgram('busybox');
  if (busybox === undefined) return missing('busybox', 'busybox-static');
  try {
    return { available: true, tools: { qemu, busybox, kernel: fetchKernelPackageSync({ cacheFolder }) } };
  } catch (cause) {
    return { available: false, reason: cause instanceof Error ? cause.message : String(cause) };
  }
}

function missing(program: string, debianPackage: string): Availability {
  return { available: false, reason: `${program} is missing; install the Debian package ${debianPackage}` };
}

function findProgram(name: string): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return folders
    .map((folder) => join(folder, name))
    .find((file) => {
      try {
        accessSync(file, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}
