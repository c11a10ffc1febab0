import { z } from 'zod';
import { TenantId } from './ids';
import { Instant } from './microvm-events';
import { Role } from './tenants';

/**
 * Events that the audit knows by name. `call`: a REST call with a token that is good. The others should not happen: a token that is
 * missing, unknown, expired or revoked; a command of an epoch that is over; a fact in the name of another host; a command that
 * was sent before.
 */
export const AUDIT_EVENTS = ['call', 'refusedAuthentication', 'staleEpoch', 'forgedFact', 'replayedCommand'] as const;

/** One line of the audit: who did or tried what, and what came of it. Never holds a secret. */
export const AuditEntry = z.strictObject({
  at: Instant,
  /** The service that noticed: `gateway`, `controller`. */
  service: z.string().max(63),
  event: z.enum(AUDIT_EVENTS),
  /** Of the token; null when none was presented, or one that nobody knows. */
  tokenId: z.string().nullable(),
  name: z.string().nullable(),
  role: Role.nullable(),
  tenant: TenantId.nullable(),
  // Of a call:
  method: z.string().max(16).optional(),
  /** The route's template, such as `/v1/microvms/{id}`; not what was asked for, which may hold anything. */
  route: z.string().max(255).optional(),
  /** What the call names or made: by parameter. */
  ids: z.record(z.string(), z.string().max(255)).optional(),
  status: z.int().optional(),
  /** Code of the error. */
  code: z.string().max(63).optional(),
  /** Where the call came from. */
  address: z.string().max(64).optional(),
  /** From its head to its answer, in ms. */
  ms: z.number().nonnegative().optional(),
  /** More about it, in a few words. */
  detail: z.string().max(512).optional(),
});
export type AuditEntry = z.infer<typeof AuditEntry>;
export type AuditEvent = AuditEntry['event'];

/** One message of the audit stream: entries of one tenant, or of nobody's, in order. */
export const AuditBatch = z.strictObject({ entries: z.array(AuditEntry).min(1) });
export type AuditBatch = z.infer<typeof AuditBatch>;
