import { GuestRequestError } from './errors';
import { encodeInitConfig, type InitConfig } from './init-config';

/** Bytes of a seed: VOLLEY_SEED_BYTES of native/abi/volley_guest.h. */
export const GUEST_SEED_BYTES = 64;

/** Who a guest is. */
export type GuestIdentity = Pick<InitConfig, 'hostname' | 'interfaces' | 'dns'>;

/** What a guest is told that went on from a snapshot, on this host or another one. */
export interface RestoredGuest {
  /** Its interfaces are in the order of its network devices, and take their MACs. */
  identity: GuestIdentity;
  /** Wall clock, ns since 1970. */
  timeNs: bigint;
  /** {@link GUEST_SEED_BYTES} random bytes that no other guest is told. */
  seed: Uint8Array;
}

/** The body of RESTORED. @throws InitConfigError, GuestRequestError */
export function encodeRestored({ identity, timeNs, seed }: RestoredGuest): Buffer {
  if (seed.length !== GUEST_SEED_BYTES) {
    throw new GuestRequestError(`a seed has ${GUEST_SEED_BYTES} bytes, not ${seed.length}`);
  }
  const time = Buffer.alloc(8);
  time.writeBigUInt64LE(timeNs);
  const { hostname, interfaces, dns } = identity;
  return Buffer.concat([
    time,
    seed,
    encodeInitConfig({
      ...(hostname === undefined ? {} : { hostname }),
      ...(interfaces ? { interfaces } : {}),
      ...(dns ? { dns } : {}),
    }),
  ]);
}
