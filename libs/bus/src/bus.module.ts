import { Global, Module, type DynamicModule } from '@nestjs/common';
import type { NatsConnection } from 'nats';
import type { Logger } from 'pino';
import { BusClient } from './bus-client';
import { RequestGate } from './request-gate';

/** Injects the NATS connection. */
export const NATS = Symbol('volley.nats');
/** Injects the service's pino logger. */
export const LOGGER = Symbol('volley.logger');
/** Injects an AbortSignal that fires when the service begins to shut down: end what would go on for ever. */
export const SHUTDOWN = Symbol('volley.shutdown');

/** What every service has: provided to all its modules by {@link bootService}. */
export interface ServiceContext {
  readonly name: string;
  readonly nats: NatsConnection;
  readonly bus: BusClient;
  readonly logger: Logger;
  readonly shutdown: AbortSignal;
  /** Closed by a part of the service that must not be asked anything for a while. */
  readonly gate: RequestGate;
}

@Global()
@Module({})
export class BusModule {
  static forRoot(context: Omit<ServiceContext, 'name'>): DynamicModule {
    const providers = [
      { provide: BusClient, useValue: context.bus },
      { provide: NATS, useValue: context.nats },
      { provide: LOGGER, useValue: context.logger },
      { provide: SHUTDOWN, useValue: context.shutdown },
      { provide: RequestGate, useValue: context.gate },
    ];
    return { module: BusModule, providers, exports: providers };
  }
}
