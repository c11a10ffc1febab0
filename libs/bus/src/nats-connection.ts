import { connect, nkeyAuthenticator, type NatsConnection, type ServerInfo } from 'nats';
import type { Logger } from 'pino';
import { inboxOf, type Party } from '#access';
import { setTraits } from '#journal';
import { readNkey } from '#keys';
import { ReconnectDelay } from './reconnect-delay';

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
}

/**
 * Connects, waiting for as long as it takes for the server to be there, and stays connected: it reconnects for ever, at once
 * and then five times a second. Wrong credentials end it.
 *
 * @throws Error when the credentials are refused or `checkServer` throws.
 */
export async function connectNats(options: ConnectOptions): Promise<NatsConnection> {
  const { logger } = options;
  const waiting = setInterval(() => logger?.warn({ servers: options.servers }, 'waiting for NATS'), 5_000);
  const delay = new ReconnectDelay([options.servers].flat().length);
  const inboxes = options.party === undefined ? {} : { inboxPrefix: inboxOf(options.party) };
  let nc: NatsConnection;
  try {
    nc = await connect({
      servers: options.servers,
      name: options.name,
      ...(options.token === undefined ? {} : { token: options.token }),
      ...(options.nkeyFile === undefined ? {} : { authenticator: nkeyAuthenticator(seedIn(options.nkeyFile)) }),
      ...(options.caFile === undefined ? {} : { tls: { caFile: options.caFile } }),
      ...inboxes,
      ...(options.user === undefined ? {} : { user: options.user }),
      ...(options.password === undefined ? {} : { pass: options.password }),
      maxReconnectAttempts: -1,
      waitOnFirstConnect: true,
      reconnectDelayHandler: () => delay.next(),
      pingInterval: 10_000,
      maxPingOut: 2,
      timeout: 5_000,
      noAsyncTraces: true, // a stack per request costs more than the request
    });
  } finally {
    clearInterval(waiting);
  }
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
