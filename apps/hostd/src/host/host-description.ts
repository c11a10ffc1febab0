import { readFileSync } from 'node:fs';
import { cpus, hostname, release } from 'node:os';
import { join } from 'node:path';
import { parseMeminfo } from '#density';
import type { Capacity } from '#scheduling';
import { SNAPSHOT_FORMAT, type KvmProbe } from '#microvm';
import type { HostDescription, SnapshotPlatform } from '#protocol';
import { bootId } from '../recovery/vmm-search';
import { defaultReserveMiB, defaultSlots, openFilesLimit, type AgentConfig } from './agent-config';

/** What this machine has, and how far the settings let it be promised. */
export function capacityOf(
  config: Pick<AgentConfig, 'slots' | 'memoryMib' | 'reserveMib' | 'overcommitCpu' | 'overcommitMemory'>,
): Capacity {
  const totalMiB = Math.floor(parseMeminfo(readFileSync('/proc/meminfo', 'latin1')).totalKiB / 1024);
  const memoryMiB = Math.min(totalMiB, config.memoryMib ?? totalMiB);
  const reserveMiB = config.reserveMib ?? defaultReserveMiB(memoryMiB);
  return {
    slots: config.slots ?? defaultSlots(memoryMiB, reserveMiB, openFilesLimit()),
    cpus: cpus().length,
    memoryMiB,
    reserveMiB,
    overcommit: { cpu: config.overcommitCpu, memory: config.overcommitMemory },
  };
}

export function describeHost(
  hostId: string,
  capacity: Capacity,
  probe: KvmProbe,
  images: string[],
  { labels, hostClass }: Pick<AgentConfig, 'labels' | 'hostClass'>,
  places: Pick<HostDescription, 'jail' | 'network'>,
): HostDescription {
  const { slots, cpus: count, memoryMiB, reserveMiB, overcommit } = capacity;
  return {
    hostId,
    hostname: hostname(),
    kernel: release(),
    agentVersion: agentVersion(),
    bootId: bootId(),
    kvm: {
      available: probe.available,
      ...(probe.kind === undefined ? {} : { kind: probe.kind }),
      ...(probe.reason === undefined ? {} : { reason: probe.reason }),
    },
    cpus: count,
    memoryMiB,
    reserveMiB,
    slots,
    overcommit,
    images,
    linux: linuxGuests(probe),
    ...(platformOf(probe) ? { snapshots: platformOf(probe) } : {}),
    ...places,
    hostClass,
    labels,
  };
}

/** What snapshots that are taken here depend on; undefined: no guest runs here. */
export function platformOf({ available, kind, cpu }: KvmProbe): SnapshotPlatform | undefined {
  if (!available || kind === undefined || kind === 'stand-in') return undefined;
  return { format: SNAPSHOT_FORMAT, kvm: kind, ...(cpu ? { cpu } : {}) };
}

/** Stock kernels need a KVM that runs guest supervisor code as it is. */
export function linuxGuests({ available, kind, reason }: KvmProbe): NonNullable<HostDescription['linux']> {
  if (!available) return { available: false, reason: reason ?? 'KVM is not available' };
  if (kind === 'hardware') return { available: true };
  if (kind === 'stand-in') return { available: false, reason: 'it runs stand-ins for VMMs, and no guests' };
  return { available: false, reason: 'its KVM is a software one, on which stock Linux kernels do not boot' };
}

/** Version in the package file next to the sources or the build. */
function agentVersion(): string {
  for (let folder = __dirname; folder !== '/'; folder = join(folder, '..')) {
    try {
      const { name, version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Record<
        string,
        string
      >;
      if (name === 'volley' && version !== undefined) return version;
    } catch {
      continue;
    }
  }
  return 'unknown';
}
