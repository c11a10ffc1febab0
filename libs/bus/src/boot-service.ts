import 'reflect-metadata';
import { once } from 'node:events';
import type { Server as HttpServer } from 'node:http';
import { Server as TlsServer } from 'node:tls';
import { Module, type DynamicModule, type INestApplication, type INestMicroservice, type Type } from '@nestjs/common';
import { NestFactory, type AbstractHttpAdapter } from '@nestjs/core';
import pino, { type Logger } from 'pino';
import type { NatsConnection } from 'nats';
import { BusClient } from './bus-client';
import { BusModule, type ServiceContext } from './bus.module';
import { FleetBus, type FleetBusOptions } from './fleet-bus';
import { connectNats, type ConnectOptions } from './nats-connection';
import { NestLogger } from './nest-logger';
import { RequestGate } from './request-gate';

type ModuleSource = Type<unknown> | DynamicModule;

export interface HttpOptions {
  host: string;
  /** 0: any free one. */
  port: number;
  /** Default: Fastify. */
  adapter?: AbstractHttpAdapter;
  /** Called before the app initialises: filters, hooks, parsers. */
  configure?: (app: INestApplication, context: ServiceContext) => void | Promise<void>;
}

export interface BootOptions {
  /** Names the process: its title (`volley-NAME`), its log lines and its NATS connection. */
  name: string;
  /** The service's root module, or what makes it once the connection is there. */
  module: ModuleSource | ((context: ServiceContext) => ModuleSource | Promise<ModuleSource>);
  nats: Omit<ConnectOptions, 'name' | 'logger'>;
  bus?: Omit<FleetBusOptions, 'connection' | 'door' | 'logger'>;
  /** A second connection, for new work alone (see `sheddable` of an operation). */
  door?: boolean;
  /** Absent: the service has no HTTP. */
  http?: HttpOptions;
  logLevel?: string;
  /** How long running handlers may take to finish on shutdown, in ms. Default 10 s. */
  drainMs?: number;
}

export interface RunningService {
  readonly app: INestApplication | INestMicroservice;
  readonly context: ServiceContext;
  /** Where HTTP listens. */
  readonly url: string | undefined;
  /** Shuts down in order, as SIGTERM does, but leaves the process running. */
  stop(reason?: string): Promise<void>;
}

/** After the drain: time for modules' own shutdown and the last words on NATS. */
const SHUTDOWN_SLACK_MS = 5_000;
const LAST_WORDS_MS = 500;

/**
 * Starts a service and takes over its process.
 *
 * Start: connect to NATS; build the module; run `onModuleInit` and `onApplicationBootstrap`, in which recovery is finished; only
 * then take messages, then HTTP. SIGTERM and SIGINT: take no more messages and requests, finish those that run, run the modules'
 * shutdown hooks, drain the connection, exit 0. An exception nobody caught is logged and ends the process with code 1: what
 * is in memory cannot be trusted any more, what is in history can.
 */
export async function bootService(options: BootOptions): Promise<RunningService> {
  process.title = `volley-${options.name}`;
  const log = pino.destination({ fd: 1, sync: false });
  const logger = pino({ level: options.logLevel ?? 'info', base: { service: options.name, pid: process.pid } }, log);
  diesLoudly(logger);
  const service = new Service(options, logger, log);
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => void service.exit(signal));
  }
  try {
    return await service.start();
  } catch (error) {
    logger.fatal({ err: error }, `could not start: ${String((error as Error).message)}`);
    process.exit(1);
  }
}

function diesLoudly(logger: Logger): void {
  // Rejections nobody handles arrive here too, with an origin that says so.
  process.on('uncaughtException', (error, origin) => {
    logger.fatal({ err: error, origin }, 'uncaught exception');
    process.exit(1);
  });
}

class Service {
  readonly #shutdown = new AbortController();
  readonly #drainMs: number;
  #running: RunningService | undefined;
  #bus: FleetBus | undefined;
  #door: NatsConnection | undefined;
  #stopping: Promise<void> | undefined;
  #exiting = false;

  constructor(
    private readonly options: BootOptions,
    private readonly logger: Logger,
    private readonly log: ReturnType<typeof pino.destination>,
  ) {
    this.#drainMs = options.drainMs ?? 10_000;
  }

  async start(): Promise<RunningService> {
    const { options, logger } = this;
    const startedMs = performance.now();
    logger.info({ servers: options.nats.servers }, 'connecting to NATS');
    const nats = await this.#connect(options.name);
    this.#door = options.door ? await this.#connect(`${options.name} (new work)`) : undefined;
    const context: ServiceContext = {
      name: options.name,
      nats,
      bus: new BusClient(nats, logger),
      logger,
      shutdown: this.#shutdown.signal,
      gate: new RequestGate(),
    };
    this.#bus = new FleetBus({
      ...{ connection: nats, logger, drainMs: this.#drainMs, gate: context.gate },
      ...(this.#door ? { door: this.#door } : {}),
      ...options.bus,
    });
    const root = await rootModule(options.module, context);
    const [app, url] = options.http
      ? await this.#startWithHttp(root, context, options.http)
      : [await this.#startPlain(root), undefined];
    this.#running = { app, context, url, stop: (reason) => this.stop(reason ?? 'stop()') };
    logger.info({ url, ms: Math.round(performance.now() - startedMs) }, `${options.name} is ready`);
    return this.#running;
  }

  async #connect(name: string): Promise<NatsConnection> {
    const { logger, options } = this;
    const nats = await connectNats({ ...options.nats, name, logger });
    void nats.closed().then((error) => {
      if (!error) return;
      logger.fatal({ err: error }, 'NATS refuses this service');
      process.exit(1);
    });
    return nats;
  }

  async #startPlain(root: DynamicModule): Promise<INestMicroservice> {
    const app = await NestFactory.createMicroservice(root, { strategy: this.#bus!, ...this.#nestOptions() });
    await app.listen(); // runs the modules' init hooks first
    return app;
  }

  async #startWithHttp(
    root: DynamicModule,
    context: ServiceContext,
    http: HttpOptions,
  ): Promise<[INestApplication, string]> {
    const adapter = http.adapter ?? (await fastify());
    const app = await NestFactory.create(root, adapter, this.#nestOptions());
    app.connectMicroservice({ strategy: this.#bus! }, { inheritAppConfig: true });
    await http.configure?.(app, context);
    await app.init();
    await app.startAllMicroservices();
    await app.listen(http.port, http.host);
    (app.getHttpServer() as HttpServer).on('error', (error) =>
      this.logger.error({ err: error }, 'a connection could not be accepted'),
    );
    // Nest knows of TLS only where it has set it up itself.
    const url = await app.getUrl();
    return [app, app.getHttpServer() instanceof TlsServer ? url.replace(/^http:/, 'https:') : url];
  }

  #nestOptions() {
    return { logger: new NestLogger(this.logger), abortOnError: false };
  }

  stop(reason: string): Promise<void> {
    this.#stopping ??= this.#stop(reason);
    return this.#stopping;
  }

  async #stop(reason: string): Promise<void> {
    const { logger } = this;
    logger.info({ reason }, `${this.options.name} is shutting down`);
    this.#shutdown.abort(new Error(`the service is shutting down: ${reason}`));
    if (!this.#running) return; // still starting: nothing was promised to anybody yet
    const { app, context } = this.#running;
    await Promise.all([this.#bus?.close(), 'getHttpServer' in app ? closeHttp(app, this.#drainMs) : undefined]);
    await app.close();
    await Promise.all([context.nats, ...(this.#door ? [this.#door] : [])].map((connection) => hangUp(connection)));
  }

  async exit(reason: string): Promise<never> {
    if (this.#exiting) {
      this.logger.fatal({ reason }, 'asked twice: exiting at once');
      process.exit(1);
    }
    this.#exiting = true;
    const limitMs = this.#drainMs + SHUTDOWN_SLACK_MS;
    setTimeout(() => {
      this.logger.fatal({ limitMs }, 'shutdown takes too long: exiting');
      process.exit(1);
    }, limitMs);
    try {
      await this.stop(reason);
    } catch (error) {
      this.logger.fatal({ err: error }, 'shutdown failed');
      process.exit(1);
    }
    await this.#sayLast(`${this.options.name} has shut down`);
    process.exit(0);
  }

  /** At exit pino writes what it still holds past a write that is under way: the last lines would stand in the wrong order. */
  async #sayLast(text: string): Promise<void> {
    if (!this.logger.isLevelEnabled('info')) return;
    const written = once(this.log, 'drain');
    this.logger.info(text);
    await settled(written, LAST_WORDS_MS);
  }
}

async function rootModule(source: BootOptions['module'], context: ServiceContext): Promise<DynamicModule> {
  const module = typeof source === 'function' && !isClass(source) ? await source(context) : source;
  @Module({})
  class ServiceModule {}
  return { module: ServiceModule, imports: [BusModule.forRoot(context), module] };
}

type ModuleFactory = Exclude<BootOptions['module'], ModuleSource>;

function isClass(source: Type<unknown> | ModuleFactory): source is Type<unknown> {
  return /^class\b/.test(Function.prototype.toString.call(source));
}

async function fastify(): Promise<AbstractHttpAdapter> {
  const { FastifyAdapter } = await import('@nestjs/platform-fastify');
  return new FastifyAdapter();
}

/** Stops listening, lets running requests finish for at most `drainMs`, then cuts the rest off. */
async function closeHttp(app: INestApplication, drainMs: number): Promise<void> {
  const server = app.getHttpServer() as HttpServer;
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  // A kept-alive connection falls idle only after its last answer, and nothing tells when.
  const sweep = setInterval(() => server.closeIdleConnections(), 20);
  await settled(closed, drainMs);
  clearInterval(sweep);
  server.closeAllConnections();
}

async function hangUp(connection: NatsConnection): Promise<void> {
  await settled(connection.drain(), SHUTDOWN_SLACK_MS / 2);
  if (!connection.isClosed()) await settled(connection.close(), SHUTDOWN_SLACK_MS / 4);
}

async function settled(work: Promise<unknown>, limitMs: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<void>((resolve) => (timer = setTimeout(resolve, limitMs)));
  await Promise.race([work.catch(() => undefined), limit]);
  clearTimeout(timer);
}
