import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NestFactory } from '@nestjs/core';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import type { NatsConnection } from 'nats';
import pino, { type Logger } from 'pino';
import { BusClient, BusModule, connectNats, RequestGate, type ServiceContext } from '#bus';
import { FLEET, type Fleet } from '../fleet/fleet';
import { configureHttp, gatewayAdapter } from '../gateway.http';
import { GatewayModule } from '../gateway.module';
import { GatewayMetrics } from '../metrics/gateway-metrics';
import { OperatorToken } from '../operator-token';

export const TOKEN = 'token-of-a-test-operator';

export interface GatewayUnderTest {
  url: string;
  app: NestFastifyApplication;
  fleet: Fleet;
  nc: NatsConnection;
  consoleDir: string;
  /** As SIGTERM would: the signal first, then the rest by {@link close}. */
  shutdown: AbortController;
  /** fetch with the token; a body that is no string is sent as JSON. */
  request(path: string, options?: RequestOptions): Promise<Answer>;
  close(): Promise<void>;
}

export interface RequestOptions {
  method?: string;
  body?: unknown;
  headers?: Record<string, string>;
  token?: string | null;
}

export interface Answer {
  status: number;
  headers: Headers;
  text: string;
  // eslint-disable-next-line @typescript-eslint/no-explicit-any -- tests look into whatever came
  json: any;
}

/** A gateway in this process, as `startGateway` makes it but without taking over the process. */
export async function gatewayUnderTest(
  natsUrl: string,
  options: { metricsOpen?: boolean; logger?: Logger; maxUploadBytes?: number } = {},
): Promise<GatewayUnderTest> {
  const logger = options.logger ?? pino({ level: 'silent' });
  const nc = await connectNats({ servers: natsUrl, name: 'gateway-under-test' });
  const shutdown = new AbortController();
  const consoleDir = await mkdtemp(join(tmpdir(), 'volley-console-'));
  const metrics = new GatewayMetrics();
  const context: ServiceContext = {
    name: 'gateway',
    nats: nc,
    bus: new BusClient(nc, logger),
    logger,
    shutdown: shutdown.signal,
    gate: new RequestGate(),
  };
  const module = await GatewayModule.open(context, {
    token: OperatorToken.of(TOKEN),
    consoleDir,
    metrics,
    ...(options.maxUploadBytes === undefined ? {} : { maxUploadBytes: options.maxUploadBytes }),
  });
  class Root {}
  const app = await NestFactory.create<NestFastifyApplication>(
    { module: Root, imports: [BusModule.forRoot(context), module] },
    gatewayAdapter(),
    { logger: false, abortOnError: false },
  );
  configureHttp(app, { metricsOpen: options.metricsOpen ?? false, logger, metrics, shutdown: shutdown.signal });
  await app.init();
  await app.listen(0, '127.0.0.1');
  const url = (await app.getUrl()).replace('[::1]', '127.0.0.1');
  const fleet = app.get<Fleet>(FLEET);
  return {
    url,
    app,
    fleet,
    nc,
    consoleDir,
    shutdown,
    request: (path, request) => ask(url + path, request),
    async close() {
      shutdown.abort();
      app.getHttpServer().closeAllConnections();
      await app.close();
      fleet.close();
      await nc.close();
      await rm(consoleDir, { recursive: true, force: true });
    },
  };
}

export async function ask(
  url: string,
  { method = 'GET', body, headers = {}, token = TOKEN }: RequestOptions = {},
): Promise<Answer> {
  const response = await fetch(url, {
    method,
    headers: {
      ...(token === null ? {} : { authorization: `Bearer ${token}` }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  const isJson = /json/.test(response.headers.get('content-type') ?? '');
  return {
    status: response.status,
    headers: response.headers,
    text,
    json: isJson && text !== '' ? JSON.parse(text) : undefined,
  };
}
