import { Coresidency, Quotas, Tenant, TenantId, SHARED } from '#protocol';
import { z } from 'zod';
import { AWAY, CONFLICT, INVALID, MALFORMED, NOT_FOUND, REFUSALS } from '../http/common-responses';
import { route } from '../http/route';

const shared = { tag: 'tenants' } as const;
export const TenantParams = z.strictObject({ id: TenantId.describe('Id of the tenant.') });

export const TenantBody = z.strictObject({
  quotas: Quotas.default({}).describe('Bounds of what it may hold; those that are absent do not bind.'),
  coresidency: Coresidency.default(SHARED).describe('With whom its microVMs may share a host.'),
  requestsPerSecond: Tenant.shape.requestsPerSecond.describe('REST calls per second over all its tokens.'),
});
export const TenantList = z.strictObject({ items: z.array(Tenant) });
export const TenantRemoved = z.strictObject({ removed: z.literal(true), revokedTokens: z.int() });

export const listTenantsRoute = route({
  ...shared,
  access: 'fleet',
  name: 'listTenants',
  method: 'GET',
  path: '/v1/tenants',
  summary: 'List the tenants on record',
  responses: { 200: { description: 'All of them, by id.', schema: TenantList }, ...REFUSALS, ...INVALID },
});

export const getTenantRoute = route({
  ...shared,
  access: 'view',
  name: 'getTenant',
  method: 'GET',
  path: '/v1/tenants/{id}',
  summary: 'Read one tenant and its bounds; a tenant reads its own',
  params: TenantParams,
  responses: { 200: { description: 'The tenant.', schema: Tenant }, ...REFUSALS, ...NOT_FOUND, ...INVALID },
});

export const putTenantRoute = route({
  ...shared,
  access: 'operator',
  name: 'putTenant',
  method: 'PUT',
  path: '/v1/tenants/{id}',
  summary: 'Put a tenant on record, or set its bounds anew',
  description:
    'Acts everywhere within a second. Bounds that are lower than what it holds stop nothing that runs; they keep it from starting more.',
  params: TenantParams,
  body: TenantBody,
  responses: {
    200: { description: 'The tenant as it is now.', schema: Tenant },
    ...MALFORMED,
    ...REFUSALS,
    ...NOT_FOUND,
    ...INVALID,
    ...AWAY,
  },
});

export const deleteTenantRoute = route({
  ...shared,
  access: 'operator',
  name: 'deleteTenant',
  method: 'DELETE',
  path: '/v1/tenants/{id}',
  summary: 'Take a tenant off the record and revoke its tokens; it must have no microVMs',
  params: TenantParams,
  responses: {
    200: { description: 'It is gone.', schema: TenantRemoved },
    ...REFUSALS,
    ...NOT_FOUND,
    ...CONFLICT,
    ...INVALID,
    ...AWAY,
  },
});
