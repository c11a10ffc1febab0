import type { EmulatedHost } from '#emulated-host';
import { lateMicrovms } from './microvm-report';

const STARTS = 2;

/**
 * Starts a host whose script does all the work, and resolves when the script has ended. One that stands still is started once more, and
 * this is said aloud: `start` must be able to run twice, so whatever it needs is made before. The deadline is that of both together.
 */
export async function scriptHost(start: () => EmulatedHost, deadlineMs: number): Promise<EmulatedHost> {
  const end = performance.now() + deadlineMs;
  for (let starts = 1; ; starts++) {
    const host = start();
    try {
      await host.scriptStatus(Math.max(1, Math.round(end - performance.now())));
      for (const name of lateMicrovms(host.console))
        process.stderr.write(`in the emulated host, ${name} did not end in its time, and ran once more\n`);
      return host;
    } catch (cause) {
      await host.stop();
      if (!host.stoodStill || starts === STARTS) throw cause;
      process.stderr.write('the emulated host stands still: QEMU uses no processor time; starting it once more\n');
    }
  }
}
