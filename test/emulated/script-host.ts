import type { EmulatedHost } from '#emulated-host';

const STARTS = 2;

/**
 * Starts a host whose script does all the work, and resolves when the script has ended. One that stands still is started once more, and
 * this is said aloud: `start` must be able to run twice, so whatever it needs is made before.
 */
export async function scriptHost(start: () => EmulatedHost, deadlineMs: number): Promise<EmulatedHost> {
  for (let starts = 1; ; starts++) {
    const host = start();
    try {
      await host.scriptStatus(deadlineMs);
      return host;
    } catch (cause) {
      await host.stop();
      if (!host.stoodStill || starts === STARTS) throw cause;
      process.stderr.write('the emulated host stands still: QEMU uses no processor time; starting it once more\n');
    }
  }
}
