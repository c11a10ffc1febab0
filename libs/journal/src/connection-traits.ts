import type { NatsConnection } from 'nats';

/** What a connection was made for, that those who use it have to know. */
export interface ConnectionTraits {
  /** Beginning of every inbox: the only ones that whoever is connected may listen on. Default: `_INBOX`, which anybody may who has no rights of its own. */
  readonly inboxPrefix?: string;
  /** On how many servers of a cluster each stream and bucket is kept. Default 1. */
  readonly replicas?: number;
}

const TRAITS = new WeakMap<NatsConnection, ConnectionTraits>();

export function setTraits(nc: NatsConnection, traits: ConnectionTraits): void {
  TRAITS.set(nc, traits);
}

export function traitsOf(nc: NatsConnection): ConnectionTraits {
  return TRAITS.get(nc) ?? {};
}
