import { Inject, Injectable } from '@nestjs/common';
import { SHUTDOWN } from '#bus';
import { onAbort } from '#concurrency';
import type { Microvm, MicrovmStateName } from '#protocol';
import { FLEET, type Fleet } from '../fleet/fleet';
import { ProblemError } from '../http/problem';
import { progressTo } from './target-state';

export interface WaitResult {
  microvm: Microvm;
  reached: boolean;
}

/** Holds a request until its microVM is where the caller wants it. */
@Injectable()
export class MicrovmWaiter {
  constructor(
    @Inject(FLEET) private readonly fleet: Fleet,
    @Inject(SHUTDOWN) private readonly shutdown: AbortSignal,
  ) {}

  /**
   * Waits for `target`, judging only what came after the command that `accepted` is the answer to. When time is up, the gateway
   * shuts down or the client is gone, it gives the current view.
   * `shown` makes what the caller gets to see of it. `gone` fires when nobody waits for the answer any more.
   *
   * @throws ProblemError 409 with the microVM, when it rests in another state.
   */
  async wait(
    target: MicrovmStateName,
    accepted: Microvm,
    timeoutMs: number,
    gone: AbortSignal,
    shown: (microvm: Microvm) => Microvm = (microvm) => microvm,
  ): Promise<WaitResult> {
    const rests = (microvm: Microvm) =>
      microvm.revision >= accepted.revision && progressTo(target, microvm) !== 'pending';
    const until = new AbortController();
    const offs = [this.shutdown, gone].map((signal) => onAbort(signal, () => until.abort()));
    const settled = await this.fleet
      .waitForMicrovm(accepted.id, rests, timeoutMs, until.signal)
      .finally(() => offs.forEach((off) => off()));
    const microvm = shown(settled ?? newer(accepted, this.fleet.microvm(accepted.id)));
    const progress = progressTo(target, microvm);
    if (progress !== 'missed') return { microvm, reached: progress === 'reached' };
    const reason = microvm.reason === null ? '' : `: ${microvm.reason}`;
    throw new ProblemError(409, 'conflict', `microVM ${microvm.id} is ${microvm.state}, not ${target}${reason}`, {
      members: { microvm },
      headers: { location: `/v1/microvms/${microvm.id}` },
    });
  }
}

export function newer(one: Microvm, other: Microvm | undefined): Microvm {
  return other && other.revision > one.revision ? other : one;
}
