import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseProcessStat } from '#density';

export interface Patience {
  /** ms between two looks. */
  readonly everyMs: number;
  /** Looks in a row that find nothing done since the one before. */
  readonly looks: number;
}

/** Some seconds without a tick of processor time are a starved machine; a minute is not. */
const PATIENCE: Patience = { everyMs: 15_000, looks: 4 };

/**
 * Watches how much processor time something has used. Resolves to true when that has not grown for a minute, and to false as soon as it
 * has ended, which is when there is nothing to read, or `signal` is aborted.
 */
export async function standsStill(
  cpuMs: () => number | undefined,
  signal: AbortSignal,
  { everyMs, looks }: Patience = PATIENCE,
): Promise<boolean> {
  let before: number | undefined;
  for (let still = 0; still < looks;) {
    const waited = await sleep(everyMs, true, { signal }).catch(() => false);
    const now = waited ? cpuMs() : undefined;
    if (now === undefined) return false;
    still = now === before ? still + 1 : 0;
    before = now;
  }
  return true;
}

/** ms of processor time that a process has used, with all its threads; undefined when there is none of this id. */
export function cpuMsOf(pid: number): number | undefined {
  try {
    return parseProcessStat(readFileSync(`/proc/${pid}/stat`, 'latin1'))?.cpuMs;
  } catch {
    return undefined;
  }
}
