import { readFileSync } from 'node:fs';
import { parseProcessStat } from '#density';
import type { EmulatedHost } from '#emulated-host';

const LOOK_MS = 15_000;
/** Looks in a row at which the emulator has used no processor time. */
const STILL_LOOKS = 4;
const STARTS = 2;

/**
 * Starts a host whose script does all the work, and resolves when the script has ended.
 *
 * QEMU's software emulation of a processor that runs virtual machines comes to a dead stop now and then: its processor is halted and
 * no timer will ever wake it. A host that has used no processor time for a minute is started once more, and this is said aloud.
 */
export async function scriptHost(start: () => EmulatedHost, deadlineMs: number): Promise<EmulatedHost> {
  for (let starts = 1; ; starts++) {
    const host = start();
    const stop = new AbortController();
    const standsStill = stillness(host, stop.signal);
    try {
      if ((await Promise.race([host.scriptStatus(deadlineMs), standsStill])) !== 'stands still') return host;
    } finally {
      stop.abort();
    }
    await host.stop();
    if (starts === STARTS)
      throw new Error(`the emulated host stood still ${STARTS} times:\n${host.console.slice(-2_000)}`);
    process.stderr.write('the emulated host stands still: QEMU uses no processor time; starting it once more\n');
  }
}

async function stillness(host: EmulatedHost, signal: AbortSignal): Promise<'stands still'> {
  let before = -1;
  for (let still = 0; still < STILL_LOOKS;) {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, LOOK_MS);
      signal.addEventListener('abort', () => (clearTimeout(timer), resolve()), { once: true });
    });
    if (signal.aborted || host.ended !== undefined) return new Promise(() => undefined); // nobody waits for it any more
    const now = parseProcessStat(readFileSync(`/proc/${host.pid}/stat`, 'utf8'))!.cpuMs;
    still = now === before ? still + 1 : 0;
    before = now;
  }
  return 'stands still';
}
