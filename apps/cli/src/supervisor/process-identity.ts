import { readFileSync } from 'node:fs';

/** Names one process for good: ids are reused, but not together with the start time and the boot. */
export interface ProcessIdentity {
  pid: number;
  /** Field 22 of /proc/PID/stat: clock ticks from boot to the start of the process. */
  startTicks: string;
  bootId: string;
}

/** The identity of a living process; undefined when there is none, or only its zombie. */
export function identify(pid: number): ProcessIdentity | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch {
    return undefined;
  }
  // The name, in parentheses, may hold spaces and parentheses itself.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [state, startTicks] = [fields[0], fields[19]];
  if (startTicks === undefined || state === 'Z' || state === 'X') return undefined;
  return { pid, startTicks, bootId: bootId() };
}

export function isAlive(identity: ProcessIdentity): boolean {
  const now = identify(identity.pid);
  return now !== undefined && now.startTicks === identity.startTicks && now.bootId === identity.bootId;
}

/** Sends a signal to exactly this process. False when it is gone. */
export function signalProcess(identity: ProcessIdentity, signal: NodeJS.Signals): boolean {
  if (!isAlive(identity)) return false;
  try {
    process.kill(identity.pid, signal);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
    throw error;
  }
}

/** Waits until the process is gone; false when it is still there after `deadlineMs`. For processes that are not our children. */
export async function goneWithin(identity: ProcessIdentity, deadlineMs: number): Promise<boolean> {
  const end = performance.now() + deadlineMs;
  for (let pauseMs = 5; isAlive(identity); pauseMs = Math.min(pauseMs * 2, 100)) {
    if (performance.now() >= end) return false;
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
  return true;
}

/** SIGTERM, and SIGKILL when it has not ended by the deadline. */
export async function endProcess(identity: ProcessIdentity, deadlineMs: number): Promise<'ended' | 'killed' | 'gone'> {
  if (!signalProcess(identity, 'SIGTERM')) return 'gone';
  if (await goneWithin(identity, deadlineMs)) return 'ended';
  signalProcess(identity, 'SIGKILL');
  await goneWithin(identity, 5_000);
  return 'killed';
}

let knownBootId: string | undefined;

export function bootId(): string {
  knownBootId ??= readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
  return knownBootId;
}
