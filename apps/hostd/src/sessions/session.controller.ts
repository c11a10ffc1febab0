import { Controller, Inject, type BeforeApplicationShutdown } from '@nestjs/common';
import { Handles, LOGGER, NATS } from '#bus';
import { OperationError, openSession } from '#protocol';
import type { NatsConnection } from 'nats';
import type { Logger } from 'pino';
import { HostAgent } from '../host-agent';
import { vsockPathOf } from '../microvms/linux-guest';
import { Sessions, type SessionRequest, type SessionTarget } from './sessions';

/** Streams into microVMs of this host. */
@Controller()
export class SessionController implements BeforeApplicationShutdown {
  readonly #sessions: Sessions;

  constructor(
    @Inject(HostAgent) private readonly agent: HostAgent,
    @Inject(NATS) connection: NatsConnection,
    @Inject(LOGGER) log: Logger,
  ) {
    this.#sessions = new Sessions(connection, agent.hostId, (microvmId) => this.#target(microvmId), log);
    agent.idle.countSessionsBy((microvmId) => this.#sessions.countIn(microvmId));
  }

  @Handles(openSession)
  open(request: SessionRequest): Promise<{ accepted: true }> {
    this.agent.idle.used(request.microvmId);
    return this.#sessions.open(request);
  }

  #target(microvmId: string): SessionTarget {
    const live = this.agent.manager.liveOf(microvmId);
    if (!live) throw new OperationError('notFound', `microVM ${microvmId} does not run on this host`);
    const { process } = live;
    if (!process) throw new OperationError('unavailable', 'the microVM is still starting');
    return {
      doing: live.doing,
      vsockPath: vsockPathOf(process, live.record.spec),
      console: {
        read: (maxBytes, since) => this.agent.consoleLog.read(microvmId, maxBytes, since),
        type: (bytes) => process.type(bytes),
      },
      ended: live.ended,
    };
  }

  beforeApplicationShutdown(): void {
    this.#sessions.endAll();
  }
}
