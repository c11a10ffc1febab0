import { z } from 'zod';

const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';

/** microVM id: 26 characters of Crockford base 32 in lower case; the first ten are the time of creation, so ids sort by age. */
export const MicrovmId = z.string().regex(/^[0-9a-hjkmnp-tv-z]{26}$/, 'must be a microVM id of 26 characters');

/** Host id: chosen by the operator or derived from the machine; fits one NATS subject token. */
export const HostId = z.string().regex(/^[a-zA-Z0-9_-]{1,63}$/, "must be 1..63 letters, digits, '-' or '_'");

/** Tenant id: chosen by the operator. */
export const TenantId = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{0,62}$/, "must be 1..63 lower-case letters, digits or '-'");

/** Makes an id in the layout of the ULID specification from a time in ms and 10 random bytes, both given by the caller. */
export function sortableId(timeMs: number, random: Uint8Array): string {
  if (random.length < 10) throw new RangeError('sortableId needs 10 random bytes');
  let time = '';
  for (let i = 0, rest = timeMs; i < 10; i++, rest = Math.floor(rest / 32)) time = ALPHABET[rest % 32] + time;
  let tail = '';
  let bits = 0;
  let held = 0;
  for (let i = 0; i < 10; i++) {
    held = (held << 8) | random[i]!;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      tail += ALPHABET[(held >> bits) & 31];
    }
    held &= (1 << bits) - 1;
  }
  return time + tail;
}

/** When an id made by {@link sortableId} was made, in ms since 1970; undefined when it is none. */
export function timeOfId(id: string): number | undefined {
  if (!MicrovmId.safeParse(id).success) return undefined;
  let time = 0;
  for (let i = 0; i < 10; i++) time = time * 32 + ALPHABET.indexOf(id[i]!);
  return time;
}

/** How many parts the histories are split into; part of every history subject, so it never changes for a fleet. */
export const PARTITIONS = 64;

/** FNV-1a (32 bit) of the id, modulo {@link PARTITIONS}. */
export function partitionOf(id: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < id.length; i++) hash = Math.imul(hash ^ id.charCodeAt(i), 0x01000193);
  return (hash >>> 0) % PARTITIONS;
}
