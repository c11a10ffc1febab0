import type { Barrier } from './microvm-driver';

/** `VOLLEY_BARRIER_*` of native/abi, in the order of their bits. */
const BARRIERS: readonly Barrier[] = [
  'mounts',
  'network',
  'ipc',
  'uts',
  'pids',
  'user',
  'cgroup',
  'ids',
  'capabilities',
  'rlimits',
  'seccomp',
];

export const isBarrier = (name: unknown): name is Barrier => BARRIERS.includes(name as Barrier);

export function toBarrierBits(names: readonly Barrier[]): number {
  return names.reduce((bits, name) => bits | (1 << BARRIERS.indexOf(name)), 0);
}

/** The names of the barriers in a mask, such as `MicrovmStats.barriers`. */
export function barrierNames(bits: number): Barrier[] {
  return BARRIERS.filter((_, index) => (bits & (1 << index)) !== 0);
}
