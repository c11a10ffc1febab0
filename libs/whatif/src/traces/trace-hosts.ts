import type { HostPlan } from '../load/host-plan';
import { TRACE_IMAGE } from './trace-claim';

/** Hosts for a trace, which tells nothing of a fleet of ours: all alike, ready all the time, with nothing kept back. */
export function traceHosts(count: number, { cpus, memoryMiB }: { cpus: number; memoryMiB: number }): HostPlan[] {
  const width = String(count).length;
  return Array.from({ length: count }, (_, i) => {
    const hostId = `trace-${String(i + 1).padStart(width, '0')}`;
    const description = {
      ...{ hostId, hostname: hostId, kernel: '', agentVersion: '', bootId: '', kvm: { available: true } },
      ...{ cpus, memoryMiB, reserveMiB: 0, slots: 1_000_000, overcommit: { cpu: 1, memory: 1 } },
      ...{ images: [TRACE_IMAGE], labels: {} },
    };
    return { hostId, phases: [{ at: 0, state: 'ready', description }] };
  });
}
