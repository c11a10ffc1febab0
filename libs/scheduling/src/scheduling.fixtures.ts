import { SHARED } from '#protocol';
import type { Demand } from './demand';
import { HostTable, type HostRow } from './host-table';
import { Occupants } from './occupants';

/** For tests: an empty host that passes every filter, and a small microVM. */
export const AT = 1_700_000_000_000;

export function demand(change: Partial<Demand> = {}): Demand {
  return {
    builtinImage: 'canary',
    imageDigest: null,
    network: false,
    class: 'guaranteed',
    vcpus: 1,
    memoryMiB: 32,
    tenant: 'default',
    coresidency: SHARED,
    excluded: [],
    hostLabels: {},
    affinity: [],
    antiAffinity: [],
    spread: [],
    groups: [],
    ...change,
  };
}

export function host(hostId: string, change: Partial<HostRow> = {}): HostRow {
  return {
    hostId,
    state: 'ready',
    kvm: true,
    linux: true,
    network: true,
    images: ['canary'],
    cachedImages: [],
    labels: {},
    capacity: { slots: 10, vcpus: 8, memoryMiB: 1024 },
    reportedAt: AT - 100,
    free: { slots: 10, vcpus: 8, memoryMiB: 1024 },
    freeGuaranteed: { vcpus: 8, memoryMiB: 1024 },
    shutTo: [],
    pressurePercent: 0,
    occupants: new Occupants(),
    groups: new Map(),
    ...change,
  };
}

export function tableOf(...rows: HostRow[]): HostTable {
  const table = new HostTable();
  for (const row of rows) table.set(row);
  return table;
}
