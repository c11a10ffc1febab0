import type { MicrovmClass, MicrovmSpecInput } from '#protocol';

export interface MixSize {
  /** CPUs of the host, and the memory it lends to microVMs, MiB. */
  cpus: number;
  memoryMiB: number;
  /** Commitment to reach, of both. */
  ratio: number;
  /** The part of it that is guaranteed, of CPU: 1 is a CPU for each guaranteed vCPU. */
  guaranteed: number;
}

export interface MixPart {
  kind: string;
  class: MicrovmClass;
  cmdline: string;
  balloon?: true;
}

/** Memory of a guaranteed microVM, MiB; all of them together have less than there is. */
const GUARANTEED_MIB = 64;

/**
 * What the guests do, by class and in turn: a fleet as it is seen, with everything in it that hurts a host. Periods of guests that compute are
 * no multiples of one another, so that in the course of a run they meet in every way there is, and none is lucky.
 */
export const MIX: Record<MicrovmClass, readonly Omit<MixPart, 'class'>[]> = {
  guaranteed: [
    { kind: 'duty', cmdline: 'touch=32 burn=5 every=970 quiet' },
    { kind: 'bursty', cmdline: 'touch=32 burn=20 every=1900 quiet' },
    { kind: 'duty', cmdline: 'touch=32 burn=5 every=1030 quiet' },
    { kind: 'idle', cmdline: 'touch=16 quiet' },
    { kind: 'duty', cmdline: 'touch=32 burn=5 every=1090 quiet' },
    { kind: 'bursty', cmdline: 'touch=32 burn=20 every=2130 quiet' },
    { kind: 'duty', cmdline: 'touch=32 burn=5 every=910 quiet' },
    { kind: 'idle', cmdline: 'touch=16 quiet' },
  ],
  bestEffort: [
    { kind: 'idle-balloon', cmdline: 'touch=48 quiet balloon', balloon: true },
    { kind: 'duty', cmdline: 'touch=16 burn=5 every=1000 quiet' },
    { kind: 'hog', cmdline: 'touch=8 burn=100 quiet' },
    { kind: 'grower', cmdline: 'touch=48 grow=400 quiet' },
    { kind: 'idle', cmdline: 'touch=48 quiet' },
    { kind: 'bursty', cmdline: 'touch=16 burn=20 every=2000 quiet' },
    { kind: 'idle-balloon', cmdline: 'touch=48 quiet balloon', balloon: true },
    { kind: 'grower', cmdline: 'touch=48 grow=400 quiet' },
  ],
};

export interface MixMicrovm extends MixPart {
  memoryMiB: number;
}

/** The microVMs, one vCPU each, that come to exactly so much commitment of both resources. @throws RangeError where there is no room for that. */
export function mixOf({ cpus, memoryMiB, ratio, guaranteed: share }: MixSize): MixMicrovm[] {
  const vcpus = Math.round(cpus * ratio);
  const guaranteed = Math.max(1, Math.round(cpus * share));
  const bestEffort = vcpus - guaranteed;
  const left = Math.round(memoryMiB * ratio) - guaranteed * GUARANTEED_MIB;
  if (bestEffort < 1 || guaranteed * GUARANTEED_MIB > memoryMiB || left < bestEffort * 2 * GUARANTEED_MIB) {
    throw new RangeError(
      `no such mix: ${guaranteed} guaranteed microVMs of ${GUARANTEED_MIB} MiB need a host with more than ` +
        `${guaranteed * GUARANTEED_MIB} MiB for microVMs, and ${bestEffort} others need twice that each; ` +
        'give --memory or --ratio more, or --guaranteed less',
    );
  }
  const each = Math.floor(left / bestEffort);
  return [
    ...inTurn('guaranteed', guaranteed).map((part) => ({ ...part, memoryMiB: GUARANTEED_MIB })),
    ...inTurn('bestEffort', bestEffort).map((part, i) => ({
      ...part,
      memoryMiB: each + (i < left - each * bestEffort ? 1 : 0),
    })),
  ];
}

function inTurn(of: MicrovmClass, count: number): MixPart[] {
  const parts = MIX[of];
  return Array.from({ length: count }, (_, i) => ({ ...parts[i % parts.length]!, class: of }));
}

export function specOf({ kind, class: of, cmdline, balloon, memoryMiB }: MixMicrovm, index: number): MicrovmSpecInput {
  return {
    name: `mix-${index}-${kind}`,
    image: 'canary',
    class: of,
    vcpus: 1,
    ...{ memoryMiB, cmdline },
    ...(balloon ? { balloon } : {}),
    // What is evicted comes back as soon as there is room, so that the pressure lasts.
    ...(of === 'bestEffort' ? { restartPolicy: 'always' as const, waitSeconds: 3_600 } : {}),
  };
}
