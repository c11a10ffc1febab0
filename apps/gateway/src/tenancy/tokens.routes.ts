import { Role, TenantId, Token } from '#protocol';
import { z } from 'zod';
import { AWAY, INVALID, NOT_DONE, NOT_FOUND, REFUSALS } from '../http/common-responses';
import { route } from '../http/route';

const shared = { tag: 'tenants', access: 'administer' } as const;
const TokenParams = z.strictObject({
  id: z
    .string()
    .regex(/^[0-9a-z]{26}$/, 'must be a token id of 26 characters')
    .describe('Id of the token; not its secret.'),
});
const TEN_YEARS = 315_360_000;

export const TokenBody = z.strictObject({
  name: Token.shape.name.describe('Who will use it; histories and the audit name it.'),
  role: Role,
  tenant: TenantId.optional().describe(
    "Whose it is; a tenant's own where that makes it. Absent: the fleet's, for `operator` and `read-only`.",
  ),
  ttlSeconds: z.int().min(1).max(TEN_YEARS).optional().describe('It ends after this long; absent: never.'),
});
export const RotateBody = z.strictObject({
  graceSeconds: z.int().min(0).max(604_800).default(0).describe('How long the old secret is still good.'),
});
export const TokenQuery = z.strictObject({ tenant: TenantId.optional().describe('Only those of this tenant.') });
export const TokenList = z.strictObject({ items: z.array(Token) });
export const MadeToken = z.strictObject({
  token: Token,
  /** Shown here and never again. */
  secret: z.string(),
});

const MADE = {
  201: { description: 'It is good from now on. The secret is shown here and never again.', schema: MadeToken },
  ...NOT_DONE,
};

export const createTokenRoute = route({
  ...shared,
  name: 'createToken',
  method: 'POST',
  path: '/v1/tokens',
  summary: 'Make a token',
  description: 'An operator makes any; a tenant-admin makes those of its tenant. What is stored is its SHA-256.',
  body: TokenBody,
  responses: MADE,
});

export const listTokensRoute = route({
  ...shared,
  name: 'listTokens',
  method: 'GET',
  path: '/v1/tokens',
  summary: 'List tokens, those that have ended too; secrets are not among what is known',
  query: TokenQuery,
  responses: { 200: { description: 'All of them, oldest first.', schema: TokenList }, ...REFUSALS, ...INVALID },
});

export const revokeTokenRoute = route({
  ...shared,
  name: 'revokeToken',
  method: 'DELETE',
  path: '/v1/tokens/{id}',
  summary: 'Revoke a token: within a second it is refused everywhere, and what goes on with it is ended',
  params: TokenParams,
  responses: {
    200: { description: 'It is revoked.', schema: Token },
    ...REFUSALS,
    ...NOT_FOUND,
    ...INVALID,
    ...AWAY,
  },
});

export const rotateTokenRoute = route({
  ...shared,
  name: 'rotateToken',
  method: 'POST',
  path: '/v1/tokens/{id}/rotate',
  summary: 'Make a token like this one, and end this one',
  params: TokenParams,
  body: RotateBody,
  responses: MADE,
});
