import { connect, type NatsConnection, type ServerInfo } from 'nats';
import type { Logger } from 'pino';
import { ReconnectDelay } from './reconnect-delay';

export interface ConnectOptions {
  /** One or more URLs, e.g. `nats://127.0.0.1:4222`. */
  servers: string | string[];
  /** Who we are, as the server's connection list shows it. */
  name: string;
  token?: string;
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
  let nc: NatsConnection;
  try {
    nc = await connect({
      servers: options.servers,
      name: options.name,
      ...(options.token === undefined ? {} : { token: options.token }),
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
  try {
    if (nc.info) (options.checkServer ?? requireServerVersion('2.9.0'))(nc.info);
  } catch (error) {
    await nc.close();
    throw error;
  }
  if (logger) void logStatus(nc, logger);
  return nc;
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
