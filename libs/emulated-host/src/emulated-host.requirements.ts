import { fetchKernelPackage, fetchKernelPackageSync, type KernelFlavour, type KernelPackage } from '#kernel-package';
import { findProgram } from './find-program';

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
  const programs = findPrograms();
  if (typeof programs === 'string') return { available: false, reason: programs };
  try {
    return { available: true, tools: { ...programs, kernel: fetchKernelPackageSync({ cacheFolder }) } };
  } catch (cause) {
    return { available: false, reason: messageOf(cause) };
  }
}

/** {@link findEmulatedHostTools}, for programs that have something else to do meanwhile. */
export async function fetchEmulatedHostTools(
  cacheFolder: string,
  flavour: KernelFlavour = 'cloud',
): Promise<Availability> {
  const programs = findPrograms();
  if (typeof programs === 'string') return { available: false, reason: programs };
  try {
    return { available: true, tools: { ...programs, kernel: await fetchKernelPackage({ cacheFolder, flavour }) } };
  } catch (cause) {
    return { available: false, reason: messageOf(cause) };
  }
}

/** The programs, or what to install. */
function findPrograms(): Omit<EmulatedHostTools, 'kernel'> | string {
  if (process.arch !== 'x64') return `no emulated host for ${process.arch}`;
  const qemu = findProgram('qemu-system-x86_64');
  if (qemu === undefined) return missing('qemu-system-x86_64', 'qemu-system-x86');
  const busybox = findProgram('busybox');
  if (busybox === undefined) return missing('busybox', 'busybox-static');
  if (findProgram('setpriv') === undefined) return missing('setpriv', 'util-linux');
  return { qemu, busybox };
}

function missing(program: string, debianPackage: string): string {
  return `${program} is missing; install the Debian package ${debianPackage}`;
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
