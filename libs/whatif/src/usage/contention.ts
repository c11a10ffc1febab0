import type { HostPlan } from '../load/host-plan';
import { numbersOf, type ReplayedStay } from '../replay/replay';
import { evictionsOn } from './evictions';
import { stepsIn, visitSteps, type Steps } from './stay-steps';
import type { UsageSeriesOf } from './usage-series';

/** How often more was wanted than there is. Shares of 1. */
export interface Contention {
  /** Share of the time of hosts with microVMs in which these wanted more CPU than the host has. */
  cpuTime: number;
  /** Share of all wanted CPU time that fell into such times: what a vCPU meets. */
  cpuDemand: number;
  /** Share of all wanted CPU time that there was no CPU for. */
  cpuUnserved: number;
  /** Share of the time of hosts with microVMs in which these held more memory than the host has less its reserve. */
  memoryTime: number;
  /** The most that was wanted of a host, over what it has. */
  peakCpu: number;
  peakMemory: number;
  /** Best-effort microVMs that would have been evicted, at most. */
  evictions: number;
  /** Share of the time of microVMs for which no usage is known: it counts as none. */
  unmeasured: number;
}

/** Puts the recorded usage of every microVM where a replay has put it, and looks at each host step by step. */
export function contentionOf(
  stays: readonly ReplayedStay[],
  hosts: readonly HostPlan[],
  usage: UsageSeriesOf,
  { seed, ...span }: Steps & { seed: number },
): Contention {
  const steps = stepsIn(span);
  const sums = {
    hostSteps: 0,
    cpuSteps: 0,
    memorySteps: 0,
    wanted: 0,
    wantedContended: 0,
    unserved: 0,
    stays: 0,
    unknown: 0,
  };
  let [peakCpu, peakMemory, evictions] = [0, 0, 0];
  const byHost = new Map<string, ReplayedStay[]>();
  for (const stay of stays) {
    const here = byHost.get(stay.hostId);
    if (here) here.push(stay);
    else byHost.set(stay.hostId, [stay]);
  }
  for (const { hostId, phases } of hosts) {
    const { cpus, memoryMiB, reserveMiB } = phases.at(-1)!.description;
    const cores = new Float64Array(steps);
    const memory = new Float64Array(steps);
    const there = new Uint32Array(steps);
    const here = (byHost.get(hostId) ?? []).map((stay) => ({
      stay,
      series: usage.of(stay.claim, () => numbersOf(stay.claim, seed)()),
    }));
    for (const { stay, series } of here) {
      visitSteps(stay, series, span, (step, part, used) => {
        sums.stays += part;
        there[step]!++;
        if (!used) {
          sums.unknown += part;
          return;
        }
        cores[step]! += part * used.wantedCores;
        memory[step]! += part * used.memoryMiB;
      });
    }
    const room = memoryMiB - reserveMiB;
    for (let step = 0; step < steps; step++) {
      if (there[step] === 0) continue;
      const wanted = cores[step]!;
      sums.hostSteps++;
      sums.wanted += wanted;
      if (wanted > cpus) {
        sums.cpuSteps++;
        sums.wantedContended += wanted;
        sums.unserved += wanted - cpus;
      }
      if (memory[step]! > room) sums.memorySteps++;
      peakCpu = Math.max(peakCpu, wanted / cpus);
      peakMemory = Math.max(peakMemory, memory[step]! / Math.max(1, room));
    }
    evictions += evictionsOn(here, memory, room, span);
  }
  const share = (part: number, whole: number): number => (whole > 0 ? part / whole : 0);
  return {
    cpuTime: share(sums.cpuSteps, sums.hostSteps),
    cpuDemand: share(sums.wantedContended, sums.wanted),
    cpuUnserved: share(sums.unserved, sums.wanted),
    memoryTime: share(sums.memorySteps, sums.hostSteps),
    peakCpu,
    peakMemory,
    evictions,
    unmeasured: share(sums.unknown, sums.stays),
  };
}
