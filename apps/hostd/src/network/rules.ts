import type { Network } from '#protocol';
import type { Slot } from '../slots/slot-layout';
import { formatNetwork, type Ipv4Network } from './ipv4';

/** The agent's end of the pair of interfaces between its namespace and the host's. */
export const UPLINK = 'up0';
/** Table in the agent's namespace. */
export const TABLE = 'inet volley';

/** What no microVM reaches, whatever it asks for; the agent's own pool and link come on top. */
export const ALWAYS_BLOCKED = ['0.0.0.0/8', '127.0.0.0/8', '169.254.0.0/16', '224.0.0.0/3'];

/** A slot with the mark of the connections of whoever lives in it now: the next one has another. */
export interface MarkedSlot {
  slot: Slot;
  mark: number;
}

export interface NamespaceRules {
  pool: Ipv4Network;
  /** Further networks that the operator forbids. */
  blocked: readonly Ipv4Network[];
  /** Address of {@link UPLINK}. */
  uplinkAddress: string;
  slots: readonly MarkedSlot[];
  /** Wishes of microVMs that live here already. */
  wishes: readonly { slot: Slot; network: Network }[];
}

/**
 * The whole rule set of the agent's namespace, as one transaction that takes the place of whatever was there. It is static: a
 * slot needs its entries in `taps`, `stamp` and `live`, which are made with its tap, and a start without special wishes no call.
 *
 * A connection is let through once and then known by its mark, which is that of the slot's present tenant. When a slot is
 * scrubbed it gets a new mark: connections of the tenant before it, of which the kernel may remember some for days, are dead then.
 */
export function namespaceRules(rules: NamespaceRules): string {
  const blocked = [...ALWAYS_BLOCKED, ...[rules.pool, ...rules.blocked].map(formatNetwork)];
  return `
table ${TABLE} {}
delete table ${TABLE}
table ${TABLE} {
  set taps { type ifname . ipv4_addr; }
  map stamp { type ipv4_addr : mark; }
  set live { type ipv4_addr . mark; }
  map policies { type ipv4_addr : verdict; }
  map forwards { type inet_proto . inet_service : ipv4_addr . inet_service; }
  set blocked { type ipv4_addr; flags interval; auto-merge; elements = { ${blocked.join(', ')} }; }
  counter spoofed {}
  counter between_microvms {}
  counter forbidden {}
  counter uninvited {}

  chain entry {
    type filter hook prerouting priority raw; policy accept;
    iifname { "lo", "${UPLINK}" } accept
    iifname . ip saddr @taps accept
    counter name spoofed drop
  }
  chain nat_in {
    type nat hook prerouting priority dstnat; policy accept;
    iifname "${UPLINK}" dnat ip to meta l4proto . th dport map @forwards
  }
  chain nat_out {
    type nat hook postrouting priority srcnat; policy accept;
    oifname "${UPLINK}" snat ip to ${rules.uplinkAddress}
  }
  chain input {
    type filter hook input priority filter; policy drop;
    iifname "lo" accept
    ct state established,related accept
    iifname != "${UPLINK}" icmp type echo-request limit rate 1000/second accept
  }
  chain to_guest {
    ip daddr . ct mark @live accept
    ct status dnat ct state new ct mark set ip daddr map @stamp accept
    counter name uninvited drop
  }
  chain let_out {
    ct mark set ip saddr map @stamp accept
  }
  chain refuse {
    counter name forbidden limit rate 100/second reject with icmp type admin-prohibited
    drop
  }
  chain forward {
    type filter hook forward priority filter; policy drop;
    iifname "${UPLINK}" goto to_guest
    oifname != "${UPLINK}" counter name between_microvms drop
    ip saddr . ct mark @live accept
    ct direction reply counter name uninvited drop
    ip daddr @blocked goto refuse
    ip saddr vmap @policies
    goto let_out
  }
}
${addSlots(rules.slots)}
${rules.wishes.map(({ slot, network }) => grantWishes(slot, network)).join('\n')}
`;
}

/** Entries of slots whose taps were made. */
export function addSlots(slots: readonly MarkedSlot[]): string {
  if (slots.length === 0) return '';
  const list = (entry: (of: MarkedSlot) => string): string => slots.map(entry).join(', ');
  return [
    `add element ${TABLE} taps { ${list(({ slot }) => `"${slot.tap}" . ${slot.address}`)} }`,
    `add element ${TABLE} stamp { ${list(({ slot, mark }) => `${slot.address} : ${mark}`)} }`,
    `add element ${TABLE} live { ${list(({ slot, mark }) => `${slot.address} . ${mark}`)} }`,
  ].join('\n');
}

/** Forgets all connections of these slots' former tenants. */
export function changeMarks(slots: readonly (MarkedSlot & { before: number })[]): string {
  if (slots.length === 0) return '';
  const list = (entry: (of: (typeof slots)[number]) => string): string => slots.map(entry).join(', ');
  return [
    `delete element ${TABLE} stamp { ${list(({ slot, before }) => `${slot.address} : ${before}`)} }`,
    `delete element ${TABLE} live { ${list(({ slot, before }) => `${slot.address} . ${before}`)} }`,
    `add element ${TABLE} stamp { ${list(({ slot, mark }) => `${slot.address} : ${mark}`)} }`,
    `add element ${TABLE} live { ${list(({ slot, mark }) => `${slot.address} . ${mark}`)} }`,
  ].join('\n');
}

/** Whether this network needs entries of its own. */
export function hasWishes({ egress, forwards }: Network): boolean {
  return egress === 'listed' || forwards.length > 0;
}

/** What a microVM's spec says about its network, in the agent's namespace. */
export function grantWishes(slot: Slot, { egress, allow, forwards }: Network): string {
  const lines: string[] = [];
  if (egress === 'listed') {
    const chain = chainOf(slot);
    lines.push(`add chain ${TABLE} ${chain}`);
    for (const destination of allow) lines.push(`add rule ${TABLE} ${chain} ${matchOf(destination)} goto let_out`);
    lines.push(`add rule ${TABLE} ${chain} goto refuse`);
    lines.push(`add element ${TABLE} policies { ${slot.address} : goto ${chain} }`);
  }
  if (forwards.length > 0) {
    const entries = forwards.map((one) => `${one.protocol} . ${one.hostPort} : ${slot.address} . ${one.guestPort}`);
    lines.push(`add element ${TABLE} forwards { ${entries.join(', ')} }`);
  }
  return lines.join('\n');
}

/** Takes back what {@link grantWishes} gave. */
export function revokeWishes(slot: Slot, { egress, forwards }: Network): string {
  const lines: string[] = [];
  if (forwards.length > 0) {
    const entries = forwards.map((one) => `${one.protocol} . ${one.hostPort} : ${slot.address} . ${one.guestPort}`);
    lines.push(`delete element ${TABLE} forwards { ${entries.join(', ')} }`);
  }
  if (egress === 'listed') {
    const chain = chainOf(slot);
    lines.push(`delete element ${TABLE} policies { ${slot.address} : goto ${chain} }`);
    lines.push(`flush chain ${TABLE} ${chain}`, `delete chain ${TABLE} ${chain}`);
  }
  return lines.join('\n');
}

const chainOf = (slot: Slot): string => `policy_${slot.number}`;

/** `10.1.0.0/16:80-90` as nft says it. */
function matchOf(destination: string): string {
  const [network, ports] = destination.split(':');
  const to = `ip daddr ${network!}`;
  return ports === undefined ? to : `${to} meta l4proto { tcp, udp } th dport ${ports}`;
}

export interface HostRules {
  /** Of the agent; the table is named after it. */
  table: string;
  /** The host's end of the link. */
  link: string;
  /** The namespace's end of it. */
  uplinkAddress: string;
  forwards: readonly { protocol: 'tcp' | 'udp'; hostPort: number }[];
}

/** The agent's table in the host's own namespace, as one transaction. Nothing of the host is open to what comes over the link. */
export function hostRules({ table, link, uplinkAddress, forwards }: HostRules): string {
  return `
table inet ${table} {}
delete table inet ${table}
table inet ${table} {
  set forwards { type inet_proto . inet_service; }
  chain guard {
    type filter hook prerouting priority mangle; policy accept;
    iifname "${link}" ip saddr != ${uplinkAddress} drop
    iifname "${link}" meta nfproto ipv6 drop
    iifname "${link}" fib daddr type { local, broadcast, multicast } ct state != { established, related } drop
  }
  chain nat_in {
    type nat hook prerouting priority dstnat; policy accept;
    iifname != "${link}" fib daddr type local meta l4proto . th dport @forwards dnat ip to ${uplinkAddress}
  }
  chain nat_own {
    type nat hook output priority -100; policy accept;
    fib daddr type local meta l4proto . th dport @forwards dnat ip to ${uplinkAddress}
  }
  chain nat_out {
    type nat hook postrouting priority srcnat; policy accept;
    oifname != "${link}" ip saddr ${uplinkAddress} masquerade
    oifname "${link}" fib saddr type local masquerade
  }
  chain forward {
    type filter hook forward priority filter; policy accept;
    oifname "${link}" ct state established,related accept
    oifname "${link}" ct status dnat accept
    oifname "${link}" drop
  }
}
${forwards.length === 0 ? '' : `add element inet ${table} forwards ${listOf(forwards)}`}
`;
}

export function openPorts(table: string, forwards: HostRules['forwards']): string {
  return forwards.length === 0 ? '' : `add element inet ${table} forwards ${listOf(forwards)}`;
}

export function closePorts(table: string, forwards: HostRules['forwards']): string {
  return forwards.length === 0 ? '' : `delete element inet ${table} forwards ${listOf(forwards)}`;
}

function listOf(forwards: HostRules['forwards']): string {
  return `{ ${forwards.map(({ protocol, hostPort }) => `${protocol} . ${hostPort}`).join(', ')} }`;
}
