/**
 * A suite that is skipped, with the reason on standard error (jest's own summary does not name it), when there is an
 * obstacle to running it on this machine.
 */
export function describeUnless(obstacle: string | undefined, name: string, suite: () => void): void {
  if (obstacle === undefined) {
    describe(name, suite);
    return;
  }
  process.stderr.write(`SKIPPED: ${name}: ${obstacle}\n`);
  describe.skip(`${name} (skipped: ${obstacle})`, suite);
}
