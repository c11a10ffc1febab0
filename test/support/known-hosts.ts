import { decideHostEvents, foldHostRecord, type HostLife } from '#lifecycle';
import type { DensityReport, HostDescription, HostEvent, HostRecord } from '#protocol';

/** For tests: hosts as their histories and reports tell of them. */

export function describedHost(hostId: string, change: Partial<HostDescription> = {}): HostDescription {
  return {
    hostId,
    hostname: hostId,
    kernel: '6.1',
    agentVersion: '0.1.0',
    bootId: 'boot',
    kvm: { available: true, kind: 'hardware' },
    cpus: 16,
    memoryMiB: 66_560,
    reserveMiB: 1_024,
    slots: 1_000,
    overcommit: { cpu: 10, memory: 1 },
    images: ['canary'],
    linux: { available: true },
    network: { available: true },
    labels: {},
    ...change,
  };
}

/** The first record of a host's history: it has registered and is ready. */
export function hostRecord(description: HostDescription, at: number): HostRecord {
  const { hostId } = description;
  const events: HostEvent[] = [{ type: 'registered', description }, { type: 'admitted' }];
  const occasion = { hostId, commandId: 'c1', cause: { kind: 'host', by: hostId } as const, at };
  const decision = decideHostEvents(null, events, occasion);
  if (decision.kind !== 'record') throw new Error(`host ${hostId} is not born`);
  return decision.record;
}

export function readyHost(hostId: string, change: Partial<HostDescription> = {}, at = 0): HostLife {
  return foldHostRecord(null, hostRecord(describedHost(hostId, change), at), 1);
}

/** The life after one more event. */
export function afterEvents(life: HostLife, ...events: HostEvent[]): HostLife {
  const occasion = { hostId: life.id, commandId: 'c2', cause: { kind: 'operator', by: 'test' } as const, at: 1 };
  const decision = decideHostEvents(life, events, occasion);
  if (decision.kind !== 'record') throw new Error(`not accepted: ${JSON.stringify(events)}`);
  return foldHostRecord(life, decision.record, life.revision + 1);
}

export interface ReportedChange {
  headroom?: Partial<DensityReport['headroom']>;
  occupancy?: DensityReport['occupancy'];
  cpuSome?: number;
}

export function reportOf(
  hostId: string,
  { headroom = {}, occupancy, cpuSome = 0 }: ReportedChange = {},
): DensityReport {
  return {
    hostId,
    at: 0,
    microvms: 0,
    slots: { total: 1_000, used: 0 },
    capacity: { cpus: 16, memoryMiB: 66_560, reserveMiB: 1_024 },
    commitment: { vcpus: 0, memoryMiB: 0 },
    used: { cpuCores: 0, memoryMiB: 0, privateMiB: 0, overheadMiB: 0, hostMemoryMiB: 0 },
    overcommit: { cpu: 0, memory: 0, cpuLimit: 10, memoryLimit: 1 },
    headroom: { vcpus: 160, memoryMiB: 65_536, slots: 1_000, microvms: 1_000, ...headroom },
    vcpuWaitPercent: { p50: 0, p99: 0 },
    pressure: { cpuSome, memorySome: 0, memoryFull: 0, ioSome: 0 },
    samplingCpuMs: 0,
    ...(occupancy ? { occupancy } : {}),
  };
}
