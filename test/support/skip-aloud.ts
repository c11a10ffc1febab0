/**
 * A suite that is skipped, with the reason on standard error (jest's own summary does not name it), when there is an
 * obstacle to running it on this machine.
 */
export function describeUnless(obstacle: string | undefined, name: string, suite: () => void): void {
  if (obstacle === undefined) describe(name, suite);
  else describe.skip(skipped(name, obstacle), suite);
}

/** The same for one test. */
export function itUnless(
  obstacle: string | undefined,
  name: string,
  test: () => Promise<void>,
  timeoutMs?: number,
): void {
  if (obstacle === undefined) it(name, test, timeoutMs);
  else it.skip(skipped(name, obstacle), test);
}

function skipped(name: string, obstacle: string): string {
  process.stderr.write(`SKIPPED: ${name}: ${obstacle}\n`);
  return `${name} (skipped: ${obstacle})`;
}
