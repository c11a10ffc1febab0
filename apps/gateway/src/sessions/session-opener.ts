import { randomUUID } from 'node:crypto';
import { Inject, Injectable } from '@nestjs/common';
import { BusClient, SHUTDOWN } from '#bus';
import { onAbort } from '#concurrency';
import {
  OperationError,
  resumeMicrovm,
  type Microvm,
  type MicrovmStateName,
  type SessionEnd,
  type SessionOpen,
} from '#protocol';
import type { Principal } from '#tenancy';
import { FLEET, type Fleet } from '../fleet/fleet';
import { Principals } from '../tenancy/principals';
import { VisibleFleet } from '../tenancy/visible-fleet';
import { GuestSession, type SessionEvents, type SessionPlace } from './guest-session';

const MAX_SESSIONS = 2_000;
/** How long a suspended microVM may take to go on before whoever wants something of it is told to come back, ms. */
const WAKE_MS = 20_000;
/** On its way to being suspended, or from there. */
const BETWEEN: readonly MicrovmStateName[] = ['suspending', 'restoring'];
const TOKEN_ENDED = 'the token has ended, and the session with it';

/** Opens sessions into microVMs, wherever they run, and bounds how many this gateway holds. */
@Injectable()
export class SessionOpener {
  readonly #open = new Set<GuestSession>();
  #opening = 0;

  constructor(
    @Inject(BusClient) private readonly bus: BusClient,
    @Inject(FLEET) private readonly fleet: Fleet,
    @Inject(VisibleFleet) private readonly visible: VisibleFleet,
    @Inject(Principals) private readonly principals: Principals,
    @Inject(SHUTDOWN) private readonly shutdown: AbortSignal,
  ) {
    shutdown.addEventListener('abort', () => this.#open.forEach((session) => session.close()), { once: true });
  }

  /** Where a microVM is that can have sessions. @throws OperationError when it does not exist, or does not run. */
  async place(who: Principal, microvmId: string): Promise<SessionPlace> {
    const microvm = await this.#awake(who, await this.visible.find(who, microvmId));
    if (
      microvm.hostId === null ||
      !['running', 'paused', 'starting', 'stopping', 'unreachable'].includes(microvm.state)
    ) {
      throw new OperationError(
        'conflict',
        `microVM ${microvmId} is ${microvm.state}, so there is nothing to reach in it`,
      );
    }
    return { hostId: microvm.hostId, microvmId, who };
  }

  /** A suspended one goes on because somebody wants something of it. @throws OperationError when it cannot. */
  async #awake(who: Principal, found: Microvm): Promise<Microvm> {
    const { id } = found;
    let now = found;
    for (let asked = false; BETWEEN.includes(now.state) || now.state === 'suspended';) {
      if (now.state === 'suspended') {
        if (asked)
          throw new OperationError(
            'conflict',
            `microVM ${id} is suspended; ${this.visible.shown(who, now).reason ?? 'it could not go on'}`,
          );
        now = (await this.bus.call(resumeMicrovm, { id, by: who.name, commandId: randomUUID() })).microvm;
        asked = true;
      }
      const { revision } = now;
      const settled = (one: Microvm): boolean => one.revision >= revision && !BETWEEN.includes(one.state);
      const next = await this.fleet.waitForMicrovm(id, settled, WAKE_MS, this.shutdown);
      if (!next)
        throw new OperationError('unavailable', `microVM ${id} has not gone on within ${WAKE_MS / 1_000} s; try again`);
      now = next;
    }
    return now;
  }

  /** How a session ended, in words for whoever opened it. */
  told({ who }: SessionPlace, end: SessionEnd): SessionEnd {
    const view = this.visible.viewOf(who);
    if (!view || !end.error) return end;
    const { code, message, details } = end.error;
    return { ...end, error: view.error(new OperationError(code, message, details)).toBody() };
  }

  /** @throws OperationError */
  async open(place: SessionPlace, open: SessionOpen, events: SessionEvents): Promise<GuestSession> {
    if (this.shutdown.aborted) throw new OperationError('unavailable', 'the gateway is shutting down');
    if (this.#open.size + this.#opening >= MAX_SESSIONS) {
      throw new OperationError('unavailable', `${MAX_SESSIONS} sessions are open already; close some, or come back`);
    }
    const tokenEnd = this.principals.endOf(place.who);
    if (tokenEnd.aborted) throw new OperationError('unauthorized', TOKEN_ENDED);
    this.#opening++;
    try {
      const session = await GuestSession.open(this.bus, place, open, events);
      const off = onAbort(tokenEnd, () => session.close({ code: 'unauthorized', message: TOKEN_ENDED }));
      this.#open.add(session);
      void session.ended.then(() => {
        this.#open.delete(session);
        off();
      });
      // It began while this was on its way.
      if (this.shutdown.aborted) session.close();
      return session;
    } finally {
      this.#opening--;
    }
  }
}
