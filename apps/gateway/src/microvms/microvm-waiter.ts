import { Inject, Injectable } from '@nestjs/common';
import { SHUTDOWN } from '#bus';
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
   * Waits for `target`, judging only what came after the command that `accepted` is the answer to. When time is up, or the
   * gateway shuts down, it gives the current view.
   *
   * @throws ProblemError 409 with the microVM, when it rests in another state.
   */
  async wait(target: MicrovmStateName, accepted: Microvm, timeoutMs: number): Promise<WaitResult> {
    const rests = (microvm: Microvm) =>
      microvm.revision >= accepted.revision && progressTo(target, microvm) !== 'pending';
    const settled = await unlessAborted(this.shutdown, this.fleet.waitForMicrovm(accepted.id, rests, timeoutMs));
    const microvm = settled ?? newer(accepted, this.fleet.microvm(accepted.id));
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

/** The work's result, or undefined as soon as the signal fires. Leaves no listener behind. */
async function unlessAborted<T>(signal: AbortSignal, work: Promise<T>): Promise<T | undefined> {
  if (signal.aborted) return undefined;
  let stop!: () => void;
  const aborted = new Promise<undefined>((resolve) => (stop = () => resolve(undefined)));
  signal.addEventListener('abort', stop, { once: true });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}
