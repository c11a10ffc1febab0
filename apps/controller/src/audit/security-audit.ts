import { Inject, Injectable, type OnModuleDestroy, type OnModuleInit } from '@nestjs/common';
import type { NatsConnection } from 'nats';
import type { Logger } from 'pino';
import { LOGGER, NATS } from '#bus';
import type { reportStaleCommand, RequestOf } from '#protocol';
import { AuditLog } from '#tenancy';

/** Writes down what should not happen between the parts of a fleet. Nobody waits for it. */
@Injectable()
export class SecurityAudit implements OnModuleInit, OnModuleDestroy {
  #log!: AuditLog;

  constructor(
    @Inject(NATS) private readonly nats: NatsConnection,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  async onModuleInit(): Promise<void> {
    this.#log = await AuditLog.open(this.nats, {
      service: 'controller',
      onDropped: (count, reason) => this.logger.error({ count, reason }, 'entries of the audit were given up'),
    });
  }

  async onModuleDestroy(): Promise<void> {
    await this.#log.close();
  }

  /** A host spoke in the name of another one; refused. */
  forgedFact(hostId: string, claimedHostId: string, subject: string): void {
    this.logger.warn(
      { event: 'forgedFact', hostId, claimedHostId, subject },
      'a host spoke in the name of another one',
    );
    this.#log.record({
      event: 'forgedFact',
      ids: { host: hostId, claimedHost: claimedHostId },
      code: 'forbidden',
      detail: `host ${hostId} spoke for host ${claimedHostId} on ${subject}`,
    });
  }

  /** A host spoke of an incarnation that the history has left behind; nothing came of it. */
  staleEpoch(fact: { hostId: string; epoch: number; type: string }, microvmId: string, current: number): void {
    const { hostId, epoch, type } = fact;
    this.#log.record({
      event: 'staleEpoch',
      ids: { host: hostId, microvm: microvmId },
      code: 'refused',
      detail: `${type} of epoch ${epoch}, which is over: the history is at epoch ${current}`,
    });
  }

  /** A host was ordered what is over there, and has refused it. It may not have been a controller who ordered it. */
  staleCommand(
    hostId: string,
    { microvmId, epoch, commandId, type, seenEpoch }: RequestOf<typeof reportStaleCommand>,
  ): void {
    this.logger.warn(
      { event: 'staleEpoch', hostId, microvmId, commandId },
      'a host has refused an order of an epoch that is over',
    );
    this.#log.record({
      event: 'staleEpoch',
      ids: { host: hostId, microvm: microvmId, command: commandId },
      code: 'refused',
      detail: `the host was ordered to ${type} epoch ${epoch}, which is over: it has seen epoch ${seenEpoch}`,
    });
  }

  /** A command came again that is on record already; nothing came of it. */
  replayedCommand(microvmId: string, commandId: string, by: string): void {
    this.#log.record({
      event: 'replayedCommand',
      name: by,
      ids: { microvm: microvmId, command: commandId },
      detail: 'it is on record already, and was not done again',
    });
  }
}
