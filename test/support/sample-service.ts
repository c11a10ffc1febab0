// A service of its own process for boot-service.spec.ts. Tells its steps on the log as lines with a `step`.
import type { Server } from 'node:http';
import {
  Controller,
  Get,
  Inject,
  Injectable,
  type OnApplicationBootstrap,
  type OnApplicationShutdown,
  type OnModuleDestroy,
  type OnModuleInit,
} from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import type { Logger } from 'pino';
import { z } from 'zod';
import { bootService, BusClient, Handles, LOGGER, readConfig, SHUTDOWN } from '#bus';
import { operation } from '#protocol';

const config = readConfig(
  z.object({
    natsUrl: z.string(),
    http: z.stringbool().default(false),
    drainMs: z.coerce.number().default(5_000),
    breakAt: z.enum(['never', 'init']).default('never'),
  }),
);

const work = operation({
  subject: 'sample.work',
  request: z.strictObject({
    kind: z.enum(['quick', 'slow', 'slower', 'hang', 'throwLater', 'rejectLater', 'refuseConnection']),
  }),
  reply: z.strictObject({ recovered: z.boolean() }),
  deadlineMs: 30_000,
  summary: 'Works.',
});

@Injectable()
class Recovery implements OnModuleInit, OnApplicationBootstrap, OnModuleDestroy, OnApplicationShutdown {
  done = false;
  constructor(
    @Inject(LOGGER) readonly logger: Logger,
    @Inject(SHUTDOWN) shutdown: AbortSignal,
    @Inject(BusClient) private readonly bus: BusClient,
  ) {
    shutdown.addEventListener('abort', () => logger.info({ step: 'abort' }));
  }
  async onModuleInit(): Promise<void> {
    if (config.breakAt === 'init') throw new Error('recovery failed');
    this.logger.info({ step: 'recovering' });
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
  onApplicationBootstrap(): void {
    this.done = true;
    this.logger.info({ step: 'recovered' });
  }
  onModuleDestroy(): void {
    this.logger.info({ step: 'destroy hook' });
  }
  onApplicationShutdown(): void {
    this.logger.info({ step: 'shutdown hook' });
    this.bus.publish('sample.bye', {}); // the connection must still be there
  }
}

@Controller()
class SampleController {
  constructor(
    @Inject(Recovery) private readonly recovery: Recovery,
    @Inject(HttpAdapterHost) private readonly http: HttpAdapterHost,
  ) {}

  @Handles(work)
  async work({ kind }: { kind: string }) {
    this.recovery.logger.info({ step: `began ${kind}` });
    if (kind === 'slow') await new Promise((resolve) => setTimeout(resolve, 500));
    if (kind === 'slower') await new Promise((resolve) => setTimeout(resolve, 1_000));
    if (kind === 'hang') await new Promise(() => undefined);
    if (kind === 'throwLater') {
      setTimeout(() => {
        throw new Error('thrown later');
      });
    }
    if (kind === 'rejectLater') void Promise.reject(new Error('rejected later'));
    // As Node does when the kernel has no descriptor, no memory or no leave for one more.
    if (kind === 'refuseConnection')
      (this.http.httpAdapter.getHttpServer() as Server).emit('error', new Error('ENFILE'));
    this.recovery.logger.info({ step: `ended ${kind}` });
    return { recovered: this.recovery.done };
  }

  @Get('slow')
  async slow() {
    return this.work({ kind: 'slow' });
  }
}

void bootService({
  name: 'sample',
  module: { module: class SampleModule {}, controllers: [SampleController], providers: [Recovery] },
  nats: { servers: config.natsUrl },
  drainMs: config.drainMs,
  ...(config.http ? { http: { host: '127.0.0.1', port: 0 } } : {}),
});
