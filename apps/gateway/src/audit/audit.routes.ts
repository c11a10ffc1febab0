import { AUDIT_EVENTS, AuditEntry, TenantId } from '#protocol';
import { CURSOR_PATTERN } from '#tenancy';
import { z } from 'zod';
import { AWAY, INVALID, REFUSALS } from '../http/common-responses';
import { count, InstantText } from '../http/query-types';
import { route } from '../http/route';

export const AuditQuery = z.strictObject({
  from: InstantText.optional().describe('First instant; an hour ago when absent.'),
  to: InstantText.optional().describe('Last instant; now when absent.'),
  tenant: TenantId.optional().describe('Only what was done with tokens of this tenant.'),
  token: z.string().max(64).optional().describe('Only what was done with the token of this id.'),
  event: z.enum(AUDIT_EVENTS).optional().describe('Only entries of this kind.'),
  status: count(100, 599).optional().describe('Only calls that were answered with this status or a higher one.'),
  about: z.string().max(255).optional().describe('Only calls that name or made this: an id or a name.'),
  limit: count(1, 1000).prefault('100').describe('Most items of one page.'),
  cursor: z
    .string()
    .regex(CURSOR_PATTERN, 'must be the nextCursor of a page')
    .optional()
    .describe('`nextCursor` of the page before.'),
});
export const AuditList = z.strictObject({
  items: z.array(AuditEntry),
  /** Null on the last page. A page may hold fewer items than asked for, or none, and not be the last. */
  nextCursor: z.string().nullable(),
});

export const auditRoute = route({
  tag: 'tenants',
  access: 'audit',
  name: 'listAudit',
  method: 'GET',
  path: '/v1/audit',
  summary: 'Who did or tried what, oldest first',
  description:
    'Every call under /v1, every token that was refused, and what should not happen: stale epochs, forged facts. Kept for 90 days. ' +
    'A tenant-admin sees what was done with its own tokens. Written a moment after the call.',
  query: AuditQuery,
  responses: { 200: { description: 'One page.', schema: AuditList }, ...REFUSALS, ...INVALID, ...AWAY },
});
