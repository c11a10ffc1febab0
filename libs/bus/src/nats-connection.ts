import type { ConnectionOptions } from 'node:tls';
import {
  AuthorizationError,
  nkeyAuthenticator,
  type NatsConnection,
  type NodeConnectionOptions,
  type ServerInfo,
  type TlsOptions,
} from 'nats';
import type { Logger } from 'pino';
import { inboxOf, type Party } from '#access';
import { setTraits } from '#journal';
import { readNkey } from '#keys';
import { connectGathering } from './gathering-transport';
import { identityOf } from './server-identity';
import { ReconnectDelay } from './reconnect-delay';

/** Between attempts while no server can be reached, and between the lines of the log about it. */
const RETRY_MS = 200;
const TELL_EVERY_MS = 5_000;
/** Of one attempt: longer than the server gives us to show our key. */
const ATTEMPT_MS = 20_000;

export interface ConnectOptions {
  /** One or more URLs, e.g. `nats://127.0.0.1:4222`. */
  servers: string | string[];
  /** Who we are, as the server's connection list shows it. */
  name: string;
  token?: string;
  /** File with the seed of an nkey, read again whenever we connect: a key that was replaced meanwhile is found. */
  nkeyFile?: string;
  /** Whose inboxes to use; with a key, those of others are closed. Default: inboxes that anybody may listen on who has no rights of its own. */
  party?: Party;
  /** Connects by TLS alone, to servers whose certificate is of this authority. */
  caFile?: string;
  /** On how many servers this fleet's streams and buckets are kept. Default 1. */
  replicas?: number;
  user?: string;
  password?: string;
  /** Called with the server's greeting; throws when the server will not do. Default: {@link requireServerVersion} 2.9.0. */
  checkServer?: (server: ServerInfo) => void;
  logger?: Logger;
  /** Gives up waiting for a server. */
  signal?: AbortSignal;
}

/**
 * Connects, waiting for as long as it takes for the server to be there, and stays connected: it reconnects for ever, at once
 * and then five times a second. Wrong credentials end it.
 *
 * @throws Error when the credentials are refused, `checkServer` throws or `signal` is aborted.
 */
export async function connectNats(options: ConnectOptions): Promise<NatsConnection> {
  const { logger } = options;
  const delay = new ReconnectDelay([options.servers].flat().length);
  const inboxes = options.party === undefined ? {} : { inboxPrefix: inboxOf(options.party) };
  const nc = await connectPatiently(options, {
    servers: options.servers,
    name: options.name,
    ...(options.token === undefined ? {} : { token: options.token }),
    ...(options.nkeyFile === undefined ? {} : { authenticator: nkeyAuthenticator(seedIn(options.nkeyFile)) }),
    ...(options.caFile === undefined ? {} : { tls: tlsOptions(options.caFile, [options.servers].flat()) }),
    ...inboxes,
    ...(options.user === undefined ? {} : { user: options.user }),
    ...(options.password === undefined ? {} : { pass: options.password }),
    maxReconnectAttempts: -1,
    reconnectDelayHandler: () => delay.next(),
    pingInterval: 10_000,
    maxPingOut: 2,
    timeout: ATTEMPT_MS,
    noAsyncTraces: true, // a stack per request costs more than the request
  });
  setTraits(nc, { ...inboxes, replicas: options.replicas ?? 1 });
  try {
    if (nc.info) (options.checkServer ?? requireServerVersion('2.9.0'))(nc.info);
  } catch (error) {
    await nc.close();
    throw error;
  }
  if (logger) void logStatus(nc, logger);
  return nc;
}

/** Not by the client's own waiting, which keeps to itself why it waits: a certificate that is not believed looks like a server that is away. */
async function connectPatiently(
  { servers, logger, signal }: ConnectOptions,
  options: NodeConnectionOptions,
): Promise<NatsConnection> {
  for (let toldMs = -Infinity; ;) {
    signal?.throwIfAborted();
    try {
      return await connectGathering(options);
    } catch (error) {
      if (isRefusal(error)) throw error;
      if (performance.now() - toldMs > TELL_EVERY_MS) {
        logger?.warn({ servers, reason: reasonOf(error) }, 'waiting for NATS');
        toldMs = performance.now();
      }
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}

/** Not that we took too long to show our key, for which the client has the same error: this machine, or the server's, is busy. */
function isRefusal(error: unknown): boolean {
  return error instanceof AuthorizationError && !/timeout/i.test(error.message);
}

/** The client says that it could not connect, its cause says why. */
function reasonOf(error: unknown): string {
  const { message, cause } = error as Error;
  return cause instanceof Error && cause.message !== '' ? cause.message : message;
}

/** The client hands over to Node's TLS what it does not know itself. */
function tlsOptions(
  caFile: string,
  servers: readonly string[],
): TlsOptions & Pick<ConnectionOptions, 'checkServerIdentity'> {
  return { caFile, checkServerIdentity: identityOf(servers) };
}

/** Gives the seed in the file; the one before while the file cannot be read. */
function seedIn(file: string): () => Uint8Array {
  let seed = new TextEncoder().encode(readNkey(file).seed);
  return () => {
    try {
      seed = new TextEncoder().encode(readNkey(file).seed);
    } catch {
      // being replaced this moment, or gone: what was good when we began may still be
    }
    return seed;
  };
}

/** A check for {@link ConnectOptions.checkServer}: the server is at least of this version. */
export function requireServerVersion(minimum: string): (server: ServerInfo) => void {
  return ({ version }) => {
    const [have, need] = [numbers(version), numbers(minimum)];
    const difference = [0, 1, 2].map((i) => have[i]! - need[i]!).find((d) => d !== 0) ?? 0;
    if (difference < 0)
      throw new Error(`nats-server is ${version}, but at least ${minimum} is needed; install a newer one`);
  };
}

function numbers(version: string): [number, number, number] {
  const [, major, minor, patch] = /^v?(\d+)\.(\d+)\.(\d+)/.exec(version) ?? [];
  return [Number(major ?? 0), Number(minor ?? 0), Number(patch ?? 0)];
}

async function logStatus(nc: NatsConnection, logger: Logger): Promise<void> {
  for await (const status of nc.status()) {
    if (status.type === 'disconnect') logger.warn({ server: status.server }, 'NATS connection lost');
    if (status.type === 'reconnect') logger.info({ server: status.server }, 'NATS connection is back');
    if (status.type === 'error') logger.error({ err: status.error }, 'NATS server reported an error');
  }
}
