import { partitionOf } from './ids';

/** JetStream streams and the subjects they hold. */
export const MICROVM_STREAM = { name: 'MICROVM_HISTORY', subjects: ['volley.history.microvm.>'] } as const;
export const HOST_STREAM = { name: 'HOST_HISTORY', subjects: ['volley.history.host.>'] } as const;
export const GROUP_STREAM = { name: 'GROUP_HISTORY', subjects: ['volley.history.group.>'] } as const;
export const RECEIPT_STREAM = { name: 'RECEIPTS', subjects: ['volley.receipts.>'] } as const;

/** KV bucket: name of a controller -> its lease. */
export const CONTROLLER_BUCKET = { name: 'controllers' } as const;

/** KV bucket: idempotency key of a create -> microVM id and hash of the body. Entries live 24 h. */
export const IDEMPOTENCY_BUCKET = { name: 'idempotency', ttlMs: 24 * 3_600_000 } as const;

export const microvmHistory = (id: string): string => `volley.history.microvm.${partitionOf(id)}.${id}`;
export const hostHistory = (hostId: string): string => `volley.history.host.${hostId}`;
export const groupHistory = (id: string): string => `volley.history.group.${partitionOf(id)}.${id}`;
/** What one process of the placement service decided. */
export const receiptsBy = (instance: string): string => `volley.receipts.${instance}`;
/** Where one controller hears of decisions that it did not wait for. Core NATS. */
export const placementAnswers = (instance: string): string => `volley.v1.placement.answers.${instance}`;
/** Where controllers say that nobody wants a placement any more. Core NATS; every process of the placement service hears it. */
export const PLACEMENT_WITHDRAWALS = 'volley.v1.placement.withdrawals';

/** Density reports of one host, or of all with `*`. Core NATS, newest wins. */
export const densityReport = (hostId: string): string => `volley.v1.hosts.${hostId}.density`;
/** Samples of single microVMs of one host, in chunks. Core NATS. */
export const microvmSamples = (hostId: string): string => `volley.v1.hosts.${hostId}.samples`;

/** KV bucket: image name -> Image. */
export const IMAGE_BUCKET = { name: 'images' } as const;
/** Object store bucket: content of images by digest, manifests included. */
export const BLOB_BUCKET = { name: 'blobs' } as const;
/** Object store bucket: files on their way into an import, for an hour. */
export const UPLOAD_BUCKET = { name: 'uploads', ttlMs: 3_600_000 } as const;
/** KV bucket: id of an import -> how it goes. Entries live a day. */
export const IMAGE_JOB_BUCKET = { name: 'image-jobs', ttlMs: 24 * 3_600_000 } as const;

/** KV bucket: what retention has taken away so far, under the one key `compacted`. */
export const RETENTION_BUCKET = { name: 'retention' } as const;

/** KV bucket: template id -> TemplateRecord. */
export const TEMPLATE_BUCKET = { name: 'templates' } as const;
/** Object store bucket: templates by id (TemplateContent), and the pieces of their files by digest. */
export const TEMPLATE_CONTENT_BUCKET = { name: 'template-content' } as const;

/** KV bucket: tenant id -> Tenant. */
export const TENANT_BUCKET = { name: 'tenants' } as const;
/** KV bucket: SHA-256 of a token's secret, in hex -> Token. */
export const TOKEN_BUCKET = { name: 'tokens' } as const;

/** Who did or tried what; the oldest is thrown away when it is full or old. */
export const AUDIT_STREAM = {
  name: 'AUDIT',
  subjects: ['volley.audit.*'],
  maxBytes: 1024 ** 3,
  maxAgeMs: 90 * 24 * 3_600_000,
} as const;
/** Of one tenant; null: of operators, and of whoever is not known. */
export const auditOf = (tenant: string | null): string => `volley.audit.${tenant ?? '_fleet'}`;
