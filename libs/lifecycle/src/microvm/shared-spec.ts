import type { MicrovmSpec } from '#protocol';

interface SpecAndHash {
  readonly spec: MicrovmSpec;
  readonly specHash: string;
}

/** How many different specs are remembered; what comes back later than that is kept once more. */
const MOST = 1_024;
const known = new Map<string, SpecAndHash>();

/**
 * One object for all equal specs, and one string for their hash. Most of a fleet is made of few specs, each of 400 bytes or more, and none
 * is ever changed. This is about memory alone: what is folded is the same without it.
 */
export function sharedSpec(spec: MicrovmSpec, specHash: string): SpecAndHash {
  const text = JSON.stringify(spec);
  const same = known.get(text);
  if (same?.specHash === specHash) return same;
  const first = { spec, specHash };
  known.set(text, first);
  if (known.size > MOST) known.delete(known.keys().next().value!);
  return first;
}
