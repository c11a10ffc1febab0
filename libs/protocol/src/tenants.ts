import { z } from 'zod';
import { TenantId } from './ids';
import { Instant } from './microvm-events';

/**
 * With whom a tenant's microVMs may share a host. `dedicated`: with no other tenant's. `neverWith` counts both ways: it is
 * enough that one of two tenants names the other.
 */
export const Coresidency = z.strictObject({
  mode: z.enum(['shared', 'dedicated']).default('shared'),
  neverWith: z.array(TenantId).max(64).default([]),
});
export type Coresidency = z.output<typeof Coresidency>;
export const SHARED: Coresidency = { mode: 'shared', neverWith: [] };

/** Bounds of what a tenant may hold at a time, deleted microVMs not counted; absent: no bound. */
export const Quotas = z.strictObject({
  microvms: z.int().min(0).optional(),
  vcpus: z.int().min(0).optional(),
  memoryMiB: z.int().min(0).optional(),
  /** Templates, and what all of them take on a host's disk. */
  templates: z.int().min(0).optional(),
  templateMiB: z.int().min(0).optional(),
  /** What the pools of all its templates may keep ready on one host. */
  poolMicrovms: z.int().min(0).optional(),
  /** Creates per second; a burst of as many is let through at once. */
  createsPerSecond: z.number().positive().max(100_000).optional(),
});
export type Quotas = z.infer<typeof Quotas>;

/** An owner of microVMs. One that is not on record has no bounds and shares hosts. */
export const Tenant = z.strictObject({
  id: TenantId,
  quotas: Quotas,
  coresidency: Coresidency,
  /** REST calls per second over all its tokens; a burst of as many is let through. Absent: no bound. */
  requestsPerSecond: z.number().positive().max(100_000).optional(),
  createdAt: Instant,
  updatedAt: Instant,
});
export type Tenant = z.output<typeof Tenant>;

/**
 * `operator`: everything. The others see and touch one tenant only: `tenant-admin` also its tokens, `tenant-user` its microVMs,
 * `read-only` changes nothing.
 */
export const ROLES = ['operator', 'tenant-admin', 'tenant-user', 'read-only'] as const;
export const Role = z.enum(ROLES);
export type Role = z.infer<typeof Role>;

/** A token as everybody may see it. The secret itself is shown once, when it is made; what is stored is its SHA-256. */
export const Token = z.strictObject({
  id: z.string(),
  /** For people and for histories: who it was. */
  name: z.string().regex(/^[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}$/, "must be 1..63 letters, digits, '.', '_' or '-'"),
  role: Role,
  /** Null for operators, and for `read-only` over the whole fleet. */
  tenant: TenantId.nullable(),
  createdAt: Instant,
  /** Null: never. */
  expiresAt: Instant.nullable(),
  revokedAt: Instant.nullable(),
});
export type Token = z.infer<typeof Token>;
