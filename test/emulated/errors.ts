/**
 * Thrown by {@link EmulatedHost} when the host under emulation did not do what was asked of it: the awaited text did
 * not appear before its deadline, or QEMU ended first. Carries the end of the console, which is where the reason is.
 */
export class EmulatedHostError extends Error {
  override readonly name = 'EmulatedHostError';

  constructor(
    problem: string,
    readonly console: string,
  ) {
    super(`${problem}\n--- end of the emulated host's console ---\n${console.slice(-4000)}`);
  }
}

/**
 * Thrown by {@link fetchDistributionKernel} and {@link kernelModules} when the distribution's kernel cannot be had on
 * this machine (no package tool, no package lists, no network, no such module). Tests that need it are skipped with
 * this message.
 */
export class KernelUnavailableError extends Error {
  override readonly name = 'KernelUnavailableError';
}
