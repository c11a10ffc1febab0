import * as protocol from '#protocol';
import type { Service } from './party';

/** What is stored on JetStream, and which services write it. All services may read all of it: it is theirs together. */
export interface Store {
  /** Name of the JetStream stream behind it. */
  stream: string;
  kind: 'stream' | 'keyValue' | 'objects';
  /** Subjects by which it is written. */
  subjects: readonly string[];
  writers: readonly Service[];
  /** Who changes its settings and throws messages away. */
  managers: readonly Service[];
}

const stream = ({ name, subjects }: { name: string; subjects: readonly string[] }, ...writers: Service[]): Store => ({
  stream: name,
  kind: 'stream',
  subjects,
  writers,
  managers: writers,
});
const keyValue = ({ name }: { name: string }, ...writers: Service[]): Store => ({
  stream: `KV_${name}`,
  kind: 'keyValue',
  subjects: [`$KV.${name}.>`],
  writers,
  managers: writers,
});
const objects = ({ name }: { name: string }, ...writers: Service[]): Store => ({
  stream: `OBJ_${name}`,
  kind: 'objects',
  subjects: [`$O.${name}.>`],
  writers,
  managers: writers,
});

/** A stream or bucket of the protocol that is missing here can be opened by nobody. */
export const STORES: readonly Store[] = [
  stream(protocol.MICROVM_STREAM, 'controller'),
  stream(protocol.HOST_STREAM, 'controller'),
  stream(protocol.GROUP_STREAM, 'controller'),
  // Controllers throw away what is older than retention says.
  stream(protocol.USAGE_STREAM, 'placement'),
  { ...stream(protocol.RECEIPT_STREAM, 'placement'), managers: ['placement', 'controller'] },
  stream(protocol.DENSITY_RECENT_STREAM, 'placement'),
  stream(protocol.DENSITY_MINUTES_STREAM, 'placement'),
  stream(protocol.AUDIT_STREAM, 'controller', 'gateway'),
  keyValue(protocol.CONTROLLER_BUCKET, 'controller'),
  keyValue(protocol.RETENTION_BUCKET, 'controller'),
  keyValue(protocol.TEMPLATE_BUCKET, 'controller'),
  keyValue(protocol.TENANT_BUCKET, 'gateway'),
  keyValue(protocol.HOST_CLASS_BUCKET, 'gateway'),
  keyValue(protocol.TOKEN_BUCKET, 'gateway'),
  keyValue(protocol.IDEMPOTENCY_BUCKET, 'controller'),
  keyValue(protocol.IMAGE_BUCKET, 'images'),
  keyValue(protocol.IMAGE_JOB_BUCKET, 'images'),
  objects(protocol.BLOB_BUCKET, 'images'),
  objects(protocol.TEMPLATE_CONTENT_BUCKET, 'images'),
  objects(protocol.UPLOAD_BUCKET, 'gateway', 'images'),
];
