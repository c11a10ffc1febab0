/**
 * Thrown by everything in this library when an emulated host cannot be made, or did not do what was asked of it: the
 * awaited text did not appear before its deadline, or QEMU ended first. Carries the end of the console, which is where
 * the reason is.
 */
export class EmulatedHostError extends Error {
  override readonly name = 'EmulatedHostError';

  constructor(
    problem: string,
    readonly console = '',
  ) {
    super(console === '' ? problem : `${problem}\n--- end of the emulated host's console ---\n${console.slice(-4000)}`);
  }
}
