import type { OversubscriptionPolicy, RatioInForce } from '#protocol';
import type { Capacity, Commitment } from '../capacity';
import { derivedRatio } from './compliance-goal';
import { nSigmaShare, percentileSum, ratioBeside } from './predicted-peak';
import type { UsageHistory } from './usage-history';

export type DerivedRatios = Pick<RatioInForce, 'cpu' | 'memory' | 'why' | 'windows' | 'confidencePercent'>;

type Predicting = Exclude<OversubscriptionPolicy, { kind: 'fixedRatio' }>;

/** The ratio that a policy comes to, by what was seen so far, with the sentence that explains it. */
export function ratioOf(
  policy: OversubscriptionPolicy,
  capacity: Pick<Capacity, 'cpus' | 'memoryMiB' | 'reserveMiB'>,
  committed: Commitment,
  history: UsageHistory,
): DerivedRatios {
  if (policy.kind === 'fixedRatio') {
    const { cpu, memory } = policy;
    return { cpu, memory, windows: 0, why: `fixed: ${cpu} of CPU and ${memory} of memory` };
  }
  const windows = history.cpu.length;
  if (windows < policy.windows) {
    const why = `${windows} of ${policy.windows} windows of ${policy.windowSeconds} s seen: until then nothing is promised twice`;
    return { cpu: 1, memory: 1, windows, why };
  }
  const usableMiB = Math.max(0, capacity.memoryMiB - capacity.reserveMiB);
  const memory = peakRatio(policy, history, 'memory', committed.memoryMiB, usableMiB);
  if (policy.kind === 'predictedPeak') {
    const cpu = peakRatio(policy, history, 'cpu', committed.vcpus, capacity.cpus);
    const why = `predicted peak of ${windows} windows: ${cpu.told} CPUs, ${memory.told} MiB`;
    return { cpu: cpu.ratio, memory: memory.ratio, windows, why };
  }
  const { timePercent, confidencePercent, waitPercent, most } = policy;
  const { cpus } = capacity;
  const derived = derivedRatio(history.waits, { timePercent, confidencePercent, cpus, most: most.cpu });
  const why =
    derived.busiest > 0
      ? `${timePercent} % of vCPU time waited less than ${waitPercent} % up to ${percent(derived.busiest)} load of the CPUs ` +
        `(${derived.windows} windows, ${round(derived.confidencePercent)} % sure); a vCPU wants ${percent(derived.wantedPerVcpu)} of one; ` +
        `memory by predicted peak: ${memory.told} MiB`
      : `${derived.windows} windows do not show with ${confidencePercent} % confidence that ${timePercent} % of vCPU time waits ` +
        `less than ${waitPercent} %: nothing is promised twice`;
  return { cpu: derived.ratio, memory: memory.ratio, windows, why, confidencePercent: derived.confidencePercent };
}

function peakRatio(
  policy: Predicting,
  history: UsageHistory,
  resource: 'cpu' | 'memory',
  committed: number,
  capacity: number,
): { ratio: number; told: string } {
  const sigma = nSigmaShare(history[resource], policy.sigmas) * committed;
  const sum = percentileSum(history.each(resource), policy.percentile);
  const peak = Math.max(sigma, sum);
  const ratio = ratioBeside(peak, committed, capacity, policy.most[resource]);
  return {
    ratio,
    told: `${round(peak)} (${policy.sigmas} sigma ${round(sigma)}, p${policy.percentile} ${round(sum)}) of ${round(capacity)}`,
  };
}

const round = (value: number): number => Math.round(value * 100) / 100;
const percent = (share: number): string => `${Math.round(share * 1_000) / 10} %`;
