import {
  densityHistory,
  fleetDensity,
  measureMicrovm,
  tenantDensity,
  type DensityReport,
  type FleetDensity,
  type Operation,
  type TenantUsage,
} from '#protocol';
import { noUsage } from '#density';
import type { z } from 'zod';

type Answer = <O extends Operation>(
  operation: O,
  handler: (request: z.output<O['request']>) => z.input<O['reply']>,
) => void;

const KIB = 1024;
const WORK = { reads: 3, writes: 2, readBytes: 12_288, writeBytes: 8_192, throttled: 0 };
const SPREAD = { min: 1, mean: 2, max: 3, p99: 3 };

/** Density for tests of the gateway: one host with three microVMs, all of one tenant. */
export function answerDensity(hostId: string, answer: Answer): void {
  answer(fleetDensity, () => fleetOf(hostId));
  answer(tenantDensity, ({ tenant }) => (tenant === 'nobody' ? { ...usageOf(tenant), microvms: 0 } : usageOf(tenant)));
  answer(densityHistory, ({ from, to, stepMs = 60_000 }) => {
    const at = Math.floor(from / stepMs) * stepMs;
    return { from, to, stepMs, points: [{ at, readings: 60, figures: { microvms: SPREAD, cpuCores: SPREAD } }] };
  });
  answer(measureMicrovm, ({ microvmId }) => ({
    ...{ id: microvmId, epoch: 1, at: Date.now(), promised: { vcpus: 1, memoryMiB: 32 } },
    memory: {
      ...{ residentKiB: 4_400, proportionalKiB: 4_200, privateKiB: 4_180, guestKiB: 4_096 },
      ...{ sharedKiB: 0, sharedWith: null, swapKiB: 0 },
    },
    overhead: { vmmKiB: 92, pageTablesKiB: 32, kernelStacksKiB: 48, kernelKiB: 680 },
    cpu: { cores: 0.1, guestCores: 0.08, totalSeconds: 1.5, vcpuWaitPercent: 0.4, throttled: { periods: 0, ms: 0 } },
    ...{ disk: WORK, network: null, hints: { balloonedKiB: null } },
  }));
}

function usageOf(tenant: string): TenantUsage {
  const used = { ...noUsage(), measured: 3, residentKiB: 44_000, proportionalKiB: 40 * KIB, cpuCores: 0.5, disk: WORK };
  return { tenant, microvms: 3, commitment: { vcpus: 3, memoryMiB: 96 }, used };
}

function reportOf(hostId: string): DensityReport {
  return {
    hostId,
    at: Date.now(),
    microvms: 3,
    slots: { total: 100, used: 3 },
    capacity: { cpus: 2, memoryMiB: 4096, reserveMiB: 512 },
    commitment: { vcpus: 3, memoryMiB: 96 },
    used: { cpuCores: 0.5, memoryMiB: 40, privateMiB: 39, overheadMiB: 2, hostMemoryMiB: 900 },
    overcommit: { cpu: 1.5, memory: 0.03, cpuLimit: 4, memoryLimit: 1.5 },
    headroom: { vcpus: 5, memoryMiB: 5280, slots: 97, microvms: 97 },
    vcpuWaitPercent: { p50: 0.1, p99: 2 },
    pressure: { cpuSome: 1, memorySome: null, memoryFull: null, ioSome: null },
    samplingCpuMs: 1.5,
    memory: {
      ...{ totalKiB: 4096 * KIB, freeKiB: 2000 * KIB, pageCacheKiB: 1000 * KIB, guestPrivateKiB: 36 * KIB },
      ...{ guestSharedKiB: 0, vmmKiB: 300, microvmPageTablesKiB: 90, microvmStacksKiB: 144, microvmKernelKiB: 1806 },
      ...{ otherKernelKiB: 300 * KIB, otherProcessesKiB: 700 * KIB, otherShmemKiB: 20 * KIB, hugePagesKiB: 0 },
      unexplainedKiB: 40 * KIB - 2340,
    },
    cpu: {
      ...{ totalCores: 2, guestCores: 0.4, vmmCores: 0.1, otherProcessesCores: 0.3, interruptCores: 0.01 },
      ...{ waitingForIoCores: 0.02, stolenCores: 0.03, idleCores: 1.13, unexplainedCores: 0.01 },
    },
    microvmSums: usageOf('default').used,
    marginalCost: { kib: 744, errorKiB: 21, method: 'slope' },
    fits: {
      ...{ slots: 97, vcpus: 5, promisedMemory: 165, availableMemory: 210 },
      ...{ microvms: 5, binding: 'vcpus' },
    },
    exhaustion: { seconds: 7_200, soonestSeconds: 6_000, latestSeconds: 9_000 },
    counters: {
      ...{ vcpuRunSeconds: 12.5, vcpuWaitSeconds: 0.5, samplingCpuSeconds: 0.25 },
      vcpuWaitRatio: { bounds: [0.01, 0.05], counts: [5, 9], count: 10, sum: 0.21 },
      startSeconds: { bounds: [0.005, 0.01], counts: [2, 3], count: 3, sum: 0.017 },
    },
  };
}

function fleetOf(hostId: string): FleetDensity {
  return {
    at: Date.now(),
    hosts: [reportOf(hostId)],
    fleet: {
      microvms: 3,
      slots: { total: 100, used: 3 },
      commitment: { vcpus: 3, memoryMiB: 96 },
      used: { cpuCores: 0.5, memoryMiB: 40 },
      overcommit: { cpu: 1.5, memory: 0.03 },
      headroom: { vcpus: 5, memoryMiB: 5280, slots: 97 },
    },
    tenants: [usageOf('default')],
  };
}
