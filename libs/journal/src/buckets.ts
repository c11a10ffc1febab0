import {
  DiscardPolicy,
  jetstream,
  RetentionPolicy,
  StorageType,
  type JetStreamManager,
  type StreamConfig,
} from '@nats-io/jetstream';
import { Kvm, type KV } from '@nats-io/kv';
import { Objm, type ObjectStore } from '@nats-io/obj';
import { nanos, type NatsConnection } from 'nats';
import { traitsOf } from './connection-traits';
import { ConnectionWatch } from './connection-watch';
import { retry } from './retry';
import { ensureStream } from './stream-config';

export interface BucketOptions {
  name: string;
  /** How long an entry or object lives, in ms. Absent: until it is removed. */
  ttlMs?: number;
  /** How long to try while JetStream is not there, in ms. Default 10 s. */
  deadlineMs?: number;
}

const REQUEST_MS = 2_000;
/** What servers choose by themselves. */
const DUPLICATES_MS = 120_000;

/**
 * Opens a key-value bucket that keeps the newest value of each key, and makes it when it is not there. With several copies it is read
 * where it is written: a copy that lags behind would give what is not so any more.
 *
 * @throws StreamConfigError when the server does not honour a setting.
 * @throws JournalUnavailableError when JetStream is not there within the deadline.
 */
export async function openKeyValue(nc: NatsConnection, options: BucketOptions): Promise<KV> {
  const config = keyValueConfig(options, traitsOf(nc).replicas ?? 1);
  await openStreamOf(nc, options, config);
  return new Kvm(nc).open(options.name, { allow_direct: config.allow_direct ?? false });
}

/**
 * Opens a bucket of the object store, and makes it when it is not there.
 *
 * @throws StreamConfigError, JournalUnavailableError; see {@link openKeyValue}.
 */
export async function openObjects(
  nc: NatsConnection,
  options: BucketOptions,
): Promise<{ store: ObjectStore; jsm: JetStreamManager }> {
  const jsm = await openStreamOf(nc, options, objectsConfig(options, traitsOf(nc).replicas ?? 1));
  return { store: await new Objm(nc).open(options.name, false), jsm };
}

async function openStreamOf(
  nc: NatsConnection,
  { name, deadlineMs = 10_000 }: BucketOptions,
  config: Partial<StreamConfig> & { name: string },
): Promise<JetStreamManager> {
  return retry(
    nc,
    deadlineMs,
    `open bucket ${name}`,
    async () => {
      const jsm = await jetstream(nc, { timeout: REQUEST_MS }).jetstreamManager();
      await ensureStream(jsm, config, nc.info?.version ?? 'of unknown version');
      return jsm;
    },
    ConnectionWatch.of(nc),
  );
}

/** The stream behind a key-value bucket, as every client of NATS makes it (NATS ADR-8). */
export function keyValueConfig(
  { name, ttlMs = 0 }: BucketOptions,
  replicas: number,
): Partial<StreamConfig> & { name: string } {
  return {
    ...bucketConfig(ttlMs, replicas),
    name: `KV_${name}`,
    subjects: [`$KV.${name}.>`],
    max_msgs_per_subject: 1,
    allow_direct: replicas === 1,
  };
}

/** The stream behind a bucket of the object store (NATS ADR-20). */
export function objectsConfig(
  { name, ttlMs = 0 }: BucketOptions,
  replicas: number,
): Partial<StreamConfig> & { name: string } {
  return {
    ...bucketConfig(ttlMs, replicas),
    name: `OBJ_${name}`,
    subjects: [`$O.${name}.C.>`, `$O.${name}.M.>`],
    allow_direct: true,
  };
}

function bucketConfig(ttlMs: number, replicas: number): Partial<StreamConfig> {
  return {
    storage: StorageType.File,
    retention: RetentionPolicy.Limits,
    discard: DiscardPolicy.New,
    allow_rollup_hdrs: true,
    num_replicas: replicas,
    max_age: nanos(ttlMs),
    // Never longer than what is remembered at all.
    duplicate_window: nanos(ttlMs === 0 ? DUPLICATES_MS : Math.min(ttlMs, DUPLICATES_MS)),
    max_msgs: -1,
    max_bytes: -1,
    max_msg_size: -1,
  };
}
