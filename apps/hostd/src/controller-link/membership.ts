import type { Logger } from 'pino';
import { heartbeat, registerHost, type HostDescription } from '#protocol';
import type { BusClient } from '#bus';
import type { InventoryItem } from '../microvms/microvm-manager';
import type { Lease } from './lease';

const REGISTER_RETRY_MIN_MS = 200;
const REGISTER_RETRY_MAX_MS = 5_000;

export interface MembershipParts {
  bus: Pick<BusClient, 'call'>;
  lease: Pick<Lease, 'now' | 'renew'>;
  describe: () => HostDescription;
  inventory: () => InventoryItem[];
  /** Wall clock, ms. */
  now: () => number;
  log: Logger;
  /** A controller answered after a time in which none did. */
  onReached?: () => void;
}

/** Keeps the controllers knowing this host: registers it, then renews its lease by heartbeats. */
export class Membership {
  #registered = false;
  #heartbeatMs = 1_000;
  #retryMs = REGISTER_RETRY_MIN_MS;
  #timer: NodeJS.Timeout | undefined;
  #busy = false;
  #again = false;
  #stopped = false;
  #silent = true;

  constructor(private readonly parts: MembershipParts) {}

  get registered(): boolean {
    return this.#registered;
  }

  start(): void {
    this.#next(0);
  }

  /** The connection was lost and is back: what the controllers believe of this host may be wrong by now. */
  reconnected(): void {
    this.#registered = false;
    this.#retryMs = REGISTER_RETRY_MIN_MS;
    if (this.#busy) this.#again = true;
    else this.#next(0);
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  #next(ms: number): void {
    clearTimeout(this.#timer);
    if (this.#stopped) return;
    this.#timer = setTimeout(() => void this.#step(), ms);
  }

  async #step(): Promise<void> {
    this.#busy = true;
    const wasRegistered = this.#registered;
    let waitMs: number;
    try {
      if (wasRegistered) await this.#heartbeat();
      else await this.#register();
      waitMs = this.#registered ? this.#heartbeatMs : 0;
      this.#retryMs = REGISTER_RETRY_MIN_MS;
      if (this.#silent) this.parts.onReached?.();
      this.#silent = false;
    } catch (error) {
      if (!this.#silent || !wasRegistered) {
        this.parts.log.warn(
          { reason: (error as Error).message },
          wasRegistered ? 'heartbeat failed' : 'not registered yet',
        );
      }
      this.#silent = true;
      waitMs = wasRegistered ? Math.min(this.#heartbeatMs, REGISTER_RETRY_MIN_MS) : this.#retryMs;
      if (!wasRegistered) this.#retryMs = Math.min(REGISTER_RETRY_MAX_MS, this.#retryMs * 2);
    }
    this.#busy = false;
    if (this.#again) waitMs = 0;
    this.#again = false;
    this.#next(waitMs);
  }

  async #register(): Promise<void> {
    const { bus, lease, describe, inventory, log } = this.parts;
    const sentAt = lease.now();
    const held = inventory();
    const description = describe();
    const values = { hostId: description.hostId };
    const reply = await bus.call(registerHost, { description, inventory: held }, { values });
    // Lost and regained while it was under way: this registration may be the old one.
    if (this.#again) return;
    lease.renew(sentAt, reply.leaseMs);
    this.#heartbeatMs = reply.heartbeatMs;
    this.#registered = true;
    log.info({ state: reply.state, leaseMs: reply.leaseMs, microvms: held.length }, 'registered');
  }

  async #heartbeat(): Promise<void> {
    const { bus, lease, describe, now, log } = this.parts;
    const sentAt = lease.now();
    const { hostId } = describe();
    const reply = await bus.call(heartbeat, { hostId, at: now() }, { values: { hostId } });
    if (reply.unknown) {
      log.warn('the controllers do not know this host any more: registering again');
      this.#registered = false;
      return;
    }
    lease.renew(sentAt, reply.leaseMs);
  }
}
