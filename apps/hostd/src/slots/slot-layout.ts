import { formatAddress, sizeOf, type Ipv4Network } from '../network/ipv4';

/** Everything of a place that follows from its number: nothing of it need be remembered or looked up. */
export interface Slot {
  readonly number: number;
  readonly uid: number;
  readonly gid: number;
  /** IPv4 address of the guest, the odd one of its pair. */
  readonly address: string;
  /** The host's end of the pair. */
  readonly gateway: string;
  readonly mac: string;
  /** Name of the tap in the agent's network namespace. */
  readonly tap: string;
  /** Name of its directory under the agent's in every cgroup hierarchy. */
  readonly cgroup: string;
}

export interface SlotLayout {
  /** uid and gid of slot 0. */
  uidBase: number;
  /** Guests and their gateways get addresses out of it, in pairs. */
  pool: Ipv4Network;
}

/** The first pair stays free: addresses that end in .0 confuse people, and some stacks. */
const FIRST_PAIR = 1;

export function slotOf(number: number, { uidBase, pool }: SlotLayout): Slot {
  const gateway = pool.base + 2 * (number + FIRST_PAIR);
  return {
    number,
    uid: uidBase + number,
    gid: uidBase + number,
    address: formatAddress(gateway + 1),
    gateway: formatAddress(gateway),
    mac: macOf(gateway + 1),
    tap: `vt${number}`,
    cgroup: `s${number}`,
  };
}

/** How many slots a pool has addresses for, when `links` pairs at its end are kept for something else. */
export function slotsIn(pool: Ipv4Network, links: number): number {
  return Math.max(0, sizeOf(pool) / 2 - FIRST_PAIR - links);
}

/** Locally administered, and made of the address: seen in a capture, it tells whose it is. */
function macOf(address: number): string {
  const bytes = [0x02, 0x00, ...[24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256)];
  return bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}
