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
