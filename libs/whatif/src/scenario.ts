import type { HostDescription, WhatIfScenario } from '#protocol';
import type { Capacity } from '#scheduling';
import type { HostPlan } from './load/host-plan';

/** What a host may promise in a scenario. */
export function capacityIn(scenario: WhatIfScenario): (description: HostDescription) => Capacity {
  const { cpu, memory } = ratiosIn(scenario);
  return ({ slots, cpus, memoryMiB, reserveMiB, overcommit }) => ({
    ...{ slots, cpus, memoryMiB, reserveMiB },
    overcommit: { ...overcommit, cpu: cpu ?? overcommit.cpu, memory: memory ?? overcommit.memory },
  });
}

/** The ratios that a scenario begins with. A policy that derives them promises nothing twice until it has seen enough. */
function ratiosIn({ policy, cpuRatio, memoryRatio }: WhatIfScenario): { cpu?: number; memory?: number } {
  const { cpu, memory } = policy === undefined ? {} : policy.kind === 'fixedRatio' ? policy : { cpu: 1, memory: 1 };
  return {
    ...((cpuRatio ?? cpu) === undefined ? {} : { cpu: cpuRatio ?? cpu! }),
    ...((memoryRatio ?? memory) === undefined ? {} : { memory: memoryRatio ?? memory! }),
  };
}

/** The hosts of a scenario. One that is added is of the kind of a recorded one, and ready all the time. */
export function hostsIn({ hosts }: WhatIfScenario, recorded: readonly HostPlan[], from: number): HostPlan[] {
  if (hosts === undefined) return [...recorded];
  if (typeof hosts !== 'number') {
    const wanted = Object.entries(hosts);
    return recorded.filter(({ phases }) =>
      wanted.every(([key, value]) => phases.at(-1)!.description.labels[key] === value),
    );
  }
  const chosen = recorded.slice(0, hosts);
  for (let n = chosen.length; n < hosts && recorded.length > 0; n++) {
    const { description } = recorded[n % recorded.length]!.phases.at(-1)!;
    const hostId = `whatif-${n + 1}`;
    chosen.push({ hostId, phases: [{ at: from, state: 'ready', description: { ...description, hostId } }] });
  }
  return chosen;
}
