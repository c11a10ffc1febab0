import { HostId } from '#protocol';

/**
 * Who has a key of its own on NATS. `operator`: programs of operators, which ask as the gateway does. `auditor`: reads everything that is stored, for
 * audits and backups. Whoever may read a stream may have JetStream send its messages to any subject, so the auditor's key is as
 * powerful as a service's and is kept as well.
 */
export const SERVICES = ['controller', 'placement', 'images', 'gateway'] as const;
export const PARTIES = [...SERVICES, 'operator', 'auditor'] as const;
export type Service = (typeof SERVICES)[number];
export type Party = (typeof PARTIES)[number] | { readonly hostId: string };
/** What kind of party: rules are the same for every host. */
export type PartyKind = (typeof PARTIES)[number] | 'host';

const HOST_PREFIX = 'host-';

export const kindOf = (party: Party): PartyKind => (typeof party === 'string' ? party : 'host');

/** Names the party's key, its files and its inbox: `controller`, `host-HOSTID`. */
export const nameOf = (party: Party): string => (typeof party === 'string' ? party : `${HOST_PREFIX}${party.hostId}`);

/** The party of this name; undefined when it is none. */
export function partyNamed(name: string): Party | undefined {
  const fixed = PARTIES.find((one) => one === name);
  if (fixed) return fixed;
  if (!name.startsWith(HOST_PREFIX)) return undefined;
  const hostId = HostId.safeParse(name.slice(HOST_PREFIX.length));
  return hostId.success ? { hostId: hostId.data } : undefined;
}

export const INBOX = '_INBOX';
/** Answers to a party's requests come here, where nobody else may listen. */
export const inboxOf = (party: Party): string => `${INBOX}.${nameOf(party)}`;
