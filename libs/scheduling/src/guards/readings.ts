import type { GuardLimits, GuardReport } from '#protocol';

/** What guards look at, at one instant. */
export type GuardReading = GuardReport['reading'];
export type GuardName = keyof GuardLimits;

/** How much a microVM's vCPUs wanted of a window, and how much of that they waited. */
export interface WaitSample {
  /** vCPU time that was wanted, run and waited for; in any unit that is the same for all. */
  wanted: number;
  waitPercent: number;
}

/**
 * The smallest wait % such that `percent` % of the vCPU time that was wanted lies in samples with that much wait or less. Weighted
 * by time, so that a guest that wakes up for a microsecond does not count as much as one that computes. 0 of no samples.
 */
export function waitOfTime(samples: readonly WaitSample[], percent: number): number {
  const sorted = samples.filter(({ wanted }) => wanted > 0).sort((a, b) => a.waitPercent - b.waitPercent);
  const all = sorted.reduce((sum, { wanted }) => sum + wanted, 0);
  let sum = 0;
  for (const { wanted, waitPercent } of sorted) {
    sum += wanted;
    if (sum >= (all * percent) / 100) return waitPercent;
  }
  return sorted.at(-1)?.waitPercent ?? 0;
}

const TEXTS: Record<GuardName, string> = {
  cpuPressure: 'CPU pressure (some avg10)',
  memoryPressure: 'memory pressure (full avg10)',
  vcpuWait: 'vCPU wait of the guaranteed class',
  availableMemory: 'available memory',
};

const isBelow = (name: GuardName): boolean => name === 'availableMemory';

/** Why these limits want the gate shut; undefined: no guard trips. A figure that is not there trips nothing. */
export function tripOf(reading: GuardReading, limits: GuardLimits): string | undefined {
  for (const name of Object.keys(limits) as GuardName[]) {
    const limit = limits[name];
    const value = reading[name];
    if (!limit || value === null) continue;
    if (isBelow(name) ? value < limit.shut : value > limit.shut) {
      return `${TEXTS[name]} ${round(value)} % is ${isBelow(name) ? 'below' : 'above'} ${limit.shut} %`;
    }
  }
  return undefined;
}

/** Whether every guard is back within what lets the gate open. */
export function isCalm(reading: GuardReading, limits: GuardLimits): boolean {
  return (Object.keys(limits) as GuardName[]).every((name) => {
    const limit = limits[name];
    const value = reading[name];
    return !limit || value === null || (isBelow(name) ? value >= limit.open : value <= limit.open);
  });
}

export const round = (value: number): number => Math.round(value * 10) / 10;
