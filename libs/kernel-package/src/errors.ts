/**
 * Thrown by everything in this library when a kernel, or one of its modules, cannot be had on this machine: no package
 * tool, no package lists, no network, a broken package, no such module. Its message says what to do.
 */
export class KernelUnavailableError extends Error {
  override readonly name = 'KernelUnavailableError';
}
