import type { MicrovmClass, MicrovmSpecInput } from '#protocol';

export interface MixSize {
  /** CPUs of the host, and the memory it lends to microVMs, MiB. */
  cpus: number;
  memoryMiB: number;
  /** Commitment to reach, of both. */
  ratio: number;
}

export interface MixPart {
  kind: string;
  class: MicrovmClass;
  /** Part of the vCPUs of its class. */
  weight: number;
  cmdline: string;
  balloon?: true;
}

/** Of 10 vCPUs so many are of the class `guaranteed`. */
const GUARANTEED_OF_10 = 4;
/** Memory of a guaranteed microVM, MiB; all of them together have less than there is. */
const GUARANTEED_MIB = 64;

/** What the guests do, by class: a fleet as it is seen, with everything in it that hurts a host. */
export const MIX: readonly MixPart[] = [
  { kind: 'idle', class: 'guaranteed', weight: 2, cmdline: 'touch=16 quiet' },
  { kind: 'duty', class: 'guaranteed', weight: 4, cmdline: 'touch=32 burn=5 every=1000 quiet' },
  { kind: 'bursty', class: 'guaranteed', weight: 2, cmdline: 'touch=32 burn=20 every=2000 quiet' },
  { kind: 'idle-balloon', class: 'bestEffort', weight: 2, cmdline: 'touch=48 quiet balloon', balloon: true },
  { kind: 'idle', class: 'bestEffort', weight: 2, cmdline: 'touch=48 quiet' },
  { kind: 'duty', class: 'bestEffort', weight: 2, cmdline: 'touch=16 burn=5 every=1000 quiet' },
  { kind: 'hog', class: 'bestEffort', weight: 2, cmdline: 'touch=8 burn=100 quiet' },
  { kind: 'grower', class: 'bestEffort', weight: 4, cmdline: 'touch=8 grow=80 quiet' },
];

export interface MixMicrovm extends MixPart {
  memoryMiB: number;
}

/** The microVMs, one vCPU each, that come to exactly so much commitment of both resources. @throws RangeError where there is no room for that. */
export function mixOf({ cpus, memoryMiB, ratio }: MixSize): MixMicrovm[] {
  const vcpus = Math.round(cpus * ratio);
  const guaranteed = Math.max(1, Math.round((vcpus * GUARANTEED_OF_10) / 10));
  const bestEffort = vcpus - guaranteed;
  const left = Math.round(memoryMiB * ratio) - guaranteed * GUARANTEED_MIB;
  if (bestEffort < 1 || guaranteed * GUARANTEED_MIB > memoryMiB || left < bestEffort * 2 * GUARANTEED_MIB) {
    throw new RangeError(
      `no such mix: ${guaranteed} guaranteed microVMs of ${GUARANTEED_MIB} MiB need a host with more than ` +
        `${guaranteed * GUARANTEED_MIB} MiB for microVMs, and ${bestEffort} others need twice that each; give --memory or --ratio more`,
    );
  }
  const each = Math.floor(left / bestEffort);
  return [
    ...spread('guaranteed', guaranteed).map((part) => ({ ...part, memoryMiB: GUARANTEED_MIB })),
    ...spread('bestEffort', bestEffort).map((part, i) => ({
      ...part,
      memoryMiB: each + (i < left - each * bestEffort ? 1 : 0),
    })),
  ];
}

/** So many of one class, each kind by its weight. */
function spread(of: MicrovmClass, count: number): MixPart[] {
  const parts = MIX.filter((part) => part.class === of).flatMap((part) => Array<MixPart>(part.weight).fill(part));
  return Array.from({ length: count }, (_, i) => parts[Math.floor((i * parts.length) / count)]!);
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
