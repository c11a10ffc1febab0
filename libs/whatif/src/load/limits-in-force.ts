import type { HostPhase } from './host-plan';

/** How far a host promised what it has from an instant on, as recorded. */
export interface RecordedLimits {
  readonly hostId: string;
  /** ms since 1970. */
  readonly at: number;
  readonly cpu: number;
  readonly memory: number;
}

/**
 * Phases of one host with the ratios that its policy came to, which no history holds: in force from when they were recorded, until others are
 * or the host registers with other ratios than before. Both in order of time.
 */
export function phasesWith(phases: readonly HostPhase[], limits: readonly RecordedLimits[]): HostPhase[] {
  const result: HostPhase[] = [];
  let inForce: RecordedLimits | undefined;
  let next = 0;
  phases.forEach((phase, i) => {
    const before = phases[i - 1]?.description.overcommit;
    const { cpu, memory } = phase.description.overcommit;
    if (before && (before.cpu !== cpu || before.memory !== memory)) inForce = undefined;
    result.push(promising(phase, inForce));
    for (; next < limits.length && limits[next]!.at < (phases[i + 1]?.at ?? Infinity); next++) {
      if (limits[next]!.at < phase.at) continue;
      inForce = limits[next]!;
      const { overcommit } = result.at(-1)!.description;
      if (overcommit.cpu === inForce.cpu && overcommit.memory === inForce.memory) continue;
      result.push(promising({ ...phase, at: inForce.at }, inForce));
    }
  });
  return result;
}

function promising(phase: HostPhase, limits: RecordedLimits | undefined): HostPhase {
  if (!limits) return phase;
  const { cpu, memory } = limits;
  return {
    ...phase,
    description: { ...phase.description, overcommit: { ...phase.description.overcommit, cpu, memory } },
  };
}
