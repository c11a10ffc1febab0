import type { DensityReport, Host, Microvm } from '#protocol';

/** Views for tests. */
export function aMicrovm(overrides: Partial<Microvm> = {}): Microvm {
  return {
    id: '01jd0000000000000000000000',
    name: null,
    image: 'canary',
    tenant: 'default',
    class: 'guaranteed',
    state: 'running',
    reason: null,
    hostId: 'host-1',
    epoch: 1,
    pid: 4242,
    network: null,
    tuned: [],
    timings: { requestedAt: 1_000, acceptedAt: 1_001 },
    vcpus: 1,
    memoryMiB: 32,
    cmdline: '',
    labels: {},
    restartPolicy: 'never',
    onHostLoss: 'keep',
    ttlSeconds: null,
    deleteProtection: false,
    restarts: 0,
    createdAt: '2026-03-04T12:00:00.000Z',
    updatedAt: '2026-03-04T12:00:01.000Z',
    revision: 1,
    ...overrides,
  };
}

export function aHost(overrides: Partial<Host> = {}): Host {
  const id = overrides.id ?? 'host-1';
  return {
    id,
    state: 'ready',
    description: {
      hostId: id,
      hostname: id,
      kernel: '6.1.0',
      agentVersion: '0.1.0',
      bootId: 'boot',
      kvm: { available: true, kind: 'software' },
      cpus: 2,
      memoryMiB: 16_384,
      reserveMiB: 1_024,
      slots: 4_096,
      overcommit: { cpu: 10, memory: 1.5 },
      images: ['canary'],
      labels: {},
    },
    hostClass: { name: 'default', by: 'agent' },
    createdAt: '2026-03-04T11:00:00.000Z',
    updatedAt: '2026-03-04T11:00:00.000Z',
    revision: 1,
    ...overrides,
  };
}

export function aReport(overrides: Partial<DensityReport> = {}): DensityReport {
  return {
    hostId: 'host-1',
    at: 1_000,
    microvms: 1,
    slots: { total: 4_096, used: 1 },
    capacity: { cpus: 2, memoryMiB: 16_384, reserveMiB: 1_024 },
    commitment: { vcpus: 1, memoryMiB: 32 },
    used: { cpuCores: 0.1, memoryMiB: 2, privateMiB: 1, overheadMiB: 0.4, hostMemoryMiB: 900 },
    overcommit: { cpu: 0.5, memory: 0.002, cpuLimit: 10, memoryLimit: 1.5 },
    headroom: { vcpus: 19, memoryMiB: 23_000, slots: 4_095, microvms: 700 },
    vcpuWaitPercent: { p50: 0, p99: 0.2 },
    pressure: { cpuSome: 0.5, memorySome: 0, memoryFull: 0, ioSome: null },
    samplingCpuMs: 1,
    ...overrides,
  };
}
