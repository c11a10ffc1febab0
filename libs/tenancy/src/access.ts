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
 * say who else may. `fleet`: whoever may see all of the fleet. `operator`: operators alone.
 */
export const AUDIENCES = ['view', 'use', 'administer', 'fleet', 'operator'] as const;
export type Audience = (typeof AUDIENCES)[number];

const ROLES_OF: Record<Audience, readonly Role[]> = {
  view: ['operator', 'tenant-admin', 'tenant-user', 'read-only'],
  use: ['operator', 'tenant-admin', 'tenant-user'],
  administer: ['operator', 'tenant-admin'],
  fleet: ['operator', 'read-only'],
  operator: ['operator'],
};

export function may({ role, tenant }: Pick<Principal, 'role' | 'tenant'>, audience: Audience): boolean {
  if (audience === 'fleet' && tenant !== null) return false;
  return ROLES_OF[audience].includes(role);
}

/** Whether what belongs to `tenant` exists for this principal. */
export function sees({ tenant: own }: Pick<Principal, 'tenant'>, tenant: string): boolean {
  return own === null || own === tenant;
}
