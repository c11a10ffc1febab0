import { isDeepStrictEqual } from 'node:util';
import {
  DiscardPolicy,
  JetStreamApiError,
  RetentionPolicy,
  StorageType,
  type JetStreamManager,
  type StreamConfig,
} from '@nats-io/jetstream';
import { nanos } from 'nats';
import { StreamConfigError } from './journal-errors';

export interface StreamOptions {
  /** Name of the JetStream stream. */
  stream: string;
  /** Every subject the stream takes. No other stream may take any of them. */
  subjects: string[];
  /** How long JetStream remembers command ids, in ms. A retry later than this is caught by the expected sequence. Default 2 min. */
  duplicateWindowMs?: number;
  /** Largest record, in bytes. Default: what the server takes (1 MiB). */
  maxRecordBytes?: number;
  /** Upper bound of the stream on disk, in bytes. When reached, appends fail; nothing old is thrown away. Default: none. */
  maxBytes?: number;
  /** Refuse deletes and purges on the server, for ever: this cannot be taken back on an existing stream. Default true. */
  immutable?: boolean;
  /** More stream settings, checked like the others. */
  extra?: Partial<StreamConfig>;
}

const NO_SUITABLE_PEERS = 10005;
const STREAM_NOT_FOUND = 10059;
const STREAM_NAME_IN_USE = 10058;

export function streamConfig(options: StreamOptions, replicas: number): Partial<StreamConfig> & { name: string } {
  const immutable = options.immutable ?? true;
  return {
    name: options.stream,
    subjects: options.subjects,
    storage: StorageType.File,
    retention: RetentionPolicy.Limits,
    discard: DiscardPolicy.New,
    allow_direct: true,
    duplicate_window: nanos(options.duplicateWindowMs ?? 120_000),
    num_replicas: replicas,
    max_age: 0,
    max_msgs: -1,
    max_bytes: options.maxBytes ?? -1,
    max_msg_size: options.maxRecordBytes ?? -1,
    deny_delete: immutable,
    deny_purge: immutable,
    ...options.extra,
  };
}

/**
 * Creates the stream, or brings an existing one to `wanted`, and proves it: an older server silently drops options that it
 * does not know, so the configuration is read back and compared.
 *
 * @throws StreamConfigError when any setting is not in force afterwards.
 */
export async function ensureStream(
  jsm: JetStreamManager,
  wanted: Partial<StreamConfig> & { name: string },
  serverVersion: string,
): Promise<void> {
  let actual = await currentConfig(jsm, wanted.name);
  if (!actual) {
    try {
      actual = (await jsm.streams.add(wanted)).config;
    } catch (error) {
      // Another replica created it in between, perhaps with other settings.
      if (!(error instanceof JetStreamApiError) || error.code !== STREAM_NAME_IN_USE)
        throw asConfigError(wanted.name, error);
      actual = await currentConfig(jsm, wanted.name);
    }
  } else if (mismatches(wanted, actual).length > 0) {
    try {
      actual = (await jsm.streams.update(wanted.name, wanted)).config;
    } catch (error) {
      throw asConfigError(wanted.name, error);
    }
  }
  const wrong = mismatches(wanted, actual ?? {});
  if (wrong.length > 0) {
    throw new StreamConfigError(
      `stream ${wanted.name}: nats-server ${serverVersion} does not honour ${wrong.join(', ')}; use a newer server or do without`,
    );
  }
}

async function currentConfig(jsm: JetStreamManager, stream: string): Promise<StreamConfig | undefined> {
  try {
    return (await jsm.streams.info(stream)).config;
  } catch (error) {
    if (error instanceof JetStreamApiError && error.code === STREAM_NOT_FOUND) return undefined;
    throw error;
  }
}

/** A server leaves false and zero out of its answer; those count as equal to being absent. */
function mismatches(wanted: Partial<StreamConfig>, actual: Partial<StreamConfig>): string[] {
  const found = actual as Record<string, unknown>;
  return Object.entries(wanted)
    .filter(([key, value]) => !(isEmpty(value) && isEmpty(found[key])) && !isDeepStrictEqual(value, found[key]))
    .map(([key, value]) => `${key}=${JSON.stringify(value)} (is ${JSON.stringify(found[key])})`);
}

function isEmpty(value: unknown): boolean {
  return value === undefined || value === false || value === 0 || value === '';
}

function asConfigError(stream: string, error: unknown): unknown {
  if (!(error instanceof JetStreamApiError) || error.status >= 503 || lacksPeers(error)) return error;
  return new StreamConfigError(`stream ${stream}: the server refuses its settings: ${error.message}`, { cause: error });
}

/** Not all servers of a cluster have found each other yet, or too many are down: another answer may come a moment later. */
export function lacksPeers({ code }: JetStreamApiError): boolean {
  return code === NO_SUITABLE_PEERS;
}
