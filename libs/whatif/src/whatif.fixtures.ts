import { SHARED, type HostDescription } from '#protocol';
import type { Claim } from './load/claim';
import type { HostPlan } from './load/host-plan';
import type { Load } from './load/load';

/** For tests: a span of time, a claim in it that does not wait, and a host with room for `slots`. */
export const FROM = 1_700_000_000_000;

export function claim(n: number, change: Partial<Claim> & { tenant?: string; memoryMiB?: number } = {}): Claim {
  const { tenant = 'default', memoryMiB = 32, ...rest } = change;
  const askedAt = rest.askedAt ?? FROM + n;
  return {
    microvmId: `vm-${n}`,
    round: 1,
    demand: {
      builtinImage: 'canary',
      imageDigest: null,
      network: false,
      class: 'guaranteed',
      vcpus: 1,
      memoryMiB,
      tenant,
      coresidency: SHARED,
      excluded: [],
      hostLabels: {},
      affinity: [],
      antiAffinity: [],
      spread: [],
      groups: [],
    },
    askedAt,
    waitUntil: askedAt,
    follows: false,
    resumes: false,
    expiresAt: null,
    ending: { kind: 'after', ms: 100 },
    was: { kind: 'waiting' },
    ...rest,
  };
}

export function hostPlan(hostId: string, change: Partial<HostDescription> = {}): HostPlan {
  return { hostId, phases: [{ at: FROM, state: 'ready', description: description(hostId, change) }] };
}

export function description(hostId: string, change: Partial<HostDescription> = {}): HostDescription {
  return {
    hostId,
    hostname: hostId,
    kernel: '6.1',
    agentVersion: '1',
    bootId: 'boot',
    kvm: { available: true },
    cpus: 4,
    memoryMiB: 1_256,
    reserveMiB: 256,
    slots: 1_000,
    overcommit: { cpu: 1_000, memory: 1 },
    images: ['canary'],
    labels: {},
    ...change,
  };
}

export function loadOf(claims: readonly Claim[], hosts: readonly HostPlan[], ms = 10_000): Load {
  return { from: FROM, to: FROM + ms, claims: [...claims].sort((a, b) => a.askedAt - b.askedAt), hosts };
}
