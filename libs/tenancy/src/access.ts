import type { Role } from '#protocol';

/** Whoever presented a good token. */
export interface Principal {
  readonly tokenId: string;
  /** For histories and the audit. */
  readonly name: string;
  readonly role: Role;
  /** Whose things it sees and touches; null: the whole fleet's. */
  readonly tenant: string | null;
}

/**
 * Who may use a route. `view`: everybody, and a tenant sees its own only. `use`: whoever may change microVMs. `administer`: those who
 * say who else may. `audit`: they, and whoever may see all of the fleet. `fleet`: whoever may see all of the fleet. `operator`: operators alone.
 */
export const AUDIENCES = ['view', 'use', 'administer', 'audit', 'fleet', 'operator'] as const;
export type Audience = (typeof AUDIENCES)[number];

/** A role, and for `read-only` what it reads. */
type Kind = Exclude<Role, 'read-only'> | 'tenant-reader' | 'fleet-reader';
const KINDS: Record<Audience, readonly Kind[]> = {
  view: ['operator', 'fleet-reader', 'tenant-admin', 'tenant-user', 'tenant-reader'],
  use: ['operator', 'tenant-admin', 'tenant-user'],
  administer: ['operator', 'tenant-admin'],
  audit: ['operator', 'fleet-reader', 'tenant-admin'],
  fleet: ['operator', 'fleet-reader'],
  operator: ['operator'],
};

export function may({ role, tenant }: Pick<Principal, 'role' | 'tenant'>, audience: Audience): boolean {
  const kind = role !== 'read-only' ? role : tenant === null ? 'fleet-reader' : 'tenant-reader';
  return KINDS[audience].includes(kind);
}

/** Whether what belongs to `tenant` exists for this principal. */
export function sees({ tenant: own }: Pick<Principal, 'tenant'>, tenant: string): boolean {
  return own === null || own === tenant;
}
