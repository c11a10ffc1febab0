import type { OversubscriptionPolicy } from '#protocol';

/** A policy in a few words. */
export function toldPolicy(policy: OversubscriptionPolicy): string {
  switch (policy.kind) {
    case 'fixedRatio':
      return `fixed: cpu ${policy.cpu}x, memory ${policy.memory}x`;
    case 'predictedPeak':
      return `predicted peak of ${policy.windows} x ${policy.windowSeconds} s: ${policy.sigmas} sigma, p${policy.percentile}`;
    case 'complianceGoal':
      return `goal: ${policy.timePercent} % of vCPU time waits < ${policy.waitPercent} %`;
  }
}
