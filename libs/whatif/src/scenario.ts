import type { HostDescription } from '#protocol';
import type { Capacity } from '#scheduling';
import type { HostPlan } from './load/host-plan';

/** What is to be otherwise than it was. */
export interface Scenario {
  /** In place of every host's own overcommit limits. */
  memoryRatio?: number | undefined;
  cpuRatio?: number | undefined;
  /** So many hosts: those that were there, in order of their ids, and more of their kind; or those with these labels. */
  hosts?: number | Readonly<Record<string, string>> | undefined;
}

/** What a host may promise in a scenario. */
export function capacityIn({ memoryRatio, cpuRatio }: Scenario): (description: HostDescription) => Capacity {
  return ({ slots, cpus, memoryMiB, reserveMiB, overcommit }) => ({
    ...{ slots, cpus, memoryMiB, reserveMiB },
    overcommit: { ...overcommit, cpu: cpuRatio ?? overcommit.cpu, memory: memoryRatio ?? overcommit.memory },
  });
}

/** The hosts of a scenario. One that is added is of the kind of a recorded one, and ready all the time. */
export function hostsIn({ hosts }: Scenario, recorded: readonly HostPlan[], from: number): HostPlan[] {
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
