import { Inject, Injectable } from '@nestjs/common';
import { BusClient, SHUTDOWN } from '#bus';
import { getMicrovm, OperationError, type SessionOpen } from '#protocol';
import { FLEET, type Fleet } from '../fleet/fleet';
import { OPERATOR } from '../http/authentication';
import { GuestSession, type SessionEvents, type SessionPlace } from './guest-session';

const MAX_SESSIONS = 2_000;

/** Opens sessions into microVMs, wherever they run, and bounds how many this gateway holds. */
@Injectable()
export class SessionOpener {
  readonly #open = new Set<GuestSession>();
  #opening = 0;

  constructor(
    @Inject(BusClient) private readonly bus: BusClient,
    @Inject(FLEET) private readonly fleet: Fleet,
    @Inject(SHUTDOWN) private readonly shutdown: AbortSignal,
  ) {
    shutdown.addEventListener('abort', () => this.#open.forEach((session) => session.close()), { once: true });
  }

  /** Where a microVM is that can have sessions. @throws OperationError when it does not exist, or does not run. */
  async place(microvmId: string): Promise<SessionPlace> {
    const microvm = this.fleet.microvm(microvmId) ?? (await this.bus.call(getMicrovm, { id: microvmId })).microvm;
    if (
      microvm.hostId === null ||
      !['running', 'paused', 'starting', 'stopping', 'unreachable'].includes(microvm.state)
    ) {
      throw new OperationError(
        'conflict',
        `microVM ${microvmId} is ${microvm.state}, so there is nothing to reach in it`,
      );
    }
    return { hostId: microvm.hostId, microvmId, by: OPERATOR };
  }

  /** @throws OperationError */
  async open(place: SessionPlace, open: SessionOpen, events: SessionEvents): Promise<GuestSession> {
    if (this.shutdown.aborted) throw new OperationError('unavailable', 'the gateway is shutting down');
    if (this.#open.size + this.#opening >= MAX_SESSIONS) {
      throw new OperationError('unavailable', `${MAX_SESSIONS} sessions are open already; close some, or come back`);
    }
    this.#opening++;
    try {
      const session = await GuestSession.open(this.bus, place, open, events);
      this.#open.add(session);
      void session.ended.then(() => this.#open.delete(session));
      return session;
    } finally {
      this.#opening--;
    }
  }
}
