import type { Logger } from 'pino';
import type { BusClient } from '#bus';
import { TokenBucket } from '#concurrency';
import { reportStaleCommand } from '#protocol';
import type { HostCommand } from '../microvms/command-rules';

/** Of what is told: more of it says nothing new, and whoever sends it is to fill no stream. */
const TOLD = { burst: 20, perSecond: 1 };

export interface StaleCommandTellerParts {
  bus: Pick<BusClient, 'call'>;
  hostId: string;
  /** Steady clock, ms. */
  nowMs: () => number;
  log: Logger;
}

/** Tells the controllers of orders that this host has refused as stale, for their audit. */
export class StaleCommandTeller {
  readonly #allowance: TokenBucket;

  constructor(private readonly parts: StaleCommandTellerParts) {
    this.#allowance = new TokenBucket(TOLD.perSecond, parts.nowMs(), TOLD.burst);
  }

  /** Never throws, and nobody waits for it: the order is refused either way. */
  tell({ commandId, microvmId, epoch, type }: HostCommand, seenEpoch: number): void {
    const { bus, hostId, nowMs, log } = this.parts;
    const told = { commandId, microvmId, epoch, type, seenEpoch };
    if (this.#allowance.take(nowMs()) > 0) return log.warn(told, 'one more order of an epoch that is over; not told');
    bus.call(reportStaleCommand, told, { values: { hostId } }).catch((error: unknown) => {
      log.warn({ err: error, ...told }, 'an order of an epoch that is over was refused, and no controller heard of it');
    });
  }
}
