import { SHARED } from '#protocol';
import type { Claim, Ending } from '../load/claim';

/** What one row, or several together, say of a microVM that was asked for elsewhere. */
export interface TraceDemand {
  id: string;
  tenant: string;
  vcpus: number;
  memoryMiB: number;
  /** ms since the trace begins. */
  askedAt: number;
  /** Null: it was there to the end of the trace. */
  ranForMs: number | null;
}

/** A claim that waits for nobody: traces do not tell how long somebody would have waited. */
export function traceClaim({ id, tenant, vcpus, memoryMiB, askedAt, ranForMs }: TraceDemand): Claim {
  const ending: Ending = ranForMs === null ? { kind: 'open' } : { kind: 'after', ms: ranForMs };
  return {
    microvmId: id,
    round: 1,
    demand: {
      builtinImage: TRACE_IMAGE,
      imageDigest: null,
      network: false,
      class: 'guaranteed',
      vcpus,
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
    ...{ askedAt, waitUntil: askedAt, follows: false, resumes: false, expiresAt: null, ending },
    was: { kind: 'placed', hostId: '', epoch: 1, at: askedAt },
  };
}

/** All of a trace are of one image, which every host has. */
export const TRACE_IMAGE = 'trace';

/** Whether a sample of one in `every` takes this id: always the same ones, in all files of a trace. */
export function isSampled(id: string, every: number): boolean {
  let hash = 0x811c9dc5;
  for (let i = 0; i < id.length; i++) hash = Math.imul(hash ^ id.charCodeAt(i), 0x01000193);
  return (hash >>> 0) % every === 0;
}
