import { randomBytes } from 'node:crypto';
import type { Exit, GuestNetwork, HostFact, SnapshotCopy, StartTimings, TuningRecord } from '#protocol';
import type { IncarnationRecord, OutboxFact } from '../journal/host-record';

type Taken = Omit<Extract<HostFact, { type: 'snapshotTaken' }>, 'type' | 'hostId' | 'epoch'>;
interface Suspension {
  bytes: number;
  pauseMs: number;
  copy: SnapshotCopy;
  reason: string | undefined;
}

/**
 * Makes the facts of one host. Their ids are derived from what they tell, so that a fact told twice, also after a crash in
 * between, is one fact to the controller.
 */
export class Facts {
  constructor(
    private readonly hostId: string,
    /** Wall clock, ms. */
    private readonly now: () => number,
  ) {}

  started(
    incarnation: IncarnationRecord,
    pid: number,
    timings: StartTimings,
    network: GuestNetwork | undefined,
  ): OutboxFact {
    const more = network === undefined ? {} : { network };
    return this.#fact(incarnation, 'started', { type: 'started', ...this.#of(incarnation), pid, timings, ...more });
  }

  exited(incarnation: { microvmId: string; epoch: number }, exit: Exit): OutboxFact {
    return this.#fact(incarnation, 'exited', { type: 'exited', ...this.#of(incarnation), exit });
  }

  erased(microvmId: string, epoch: number): OutboxFact {
    const of = { microvmId, epoch };
    return this.#fact(of, 'erased', { type: 'erased', ...this.#of(of) });
  }

  pausedOnHost(incarnation: IncarnationRecord, commandId: string): OutboxFact {
    return this.#fact(incarnation, `paused-${commandId}`, { type: 'pausedOnHost', ...this.#of(incarnation) });
  }

  resumedOnHost(incarnation: IncarnationRecord, commandId: string): OutboxFact {
    return this.#fact(incarnation, `resumed-${commandId}`, { type: 'resumedOnHost', ...this.#of(incarnation) });
  }

  snapshotTaken(incarnation: IncarnationRecord, commandId: string, taken: Taken): OutboxFact {
    return this.#fact(incarnation, `snapshot-${commandId}`, {
      type: 'snapshotTaken',
      ...this.#of(incarnation),
      ...taken,
    });
  }

  suspended(
    incarnation: IncarnationRecord,
    commandId: string,
    { bytes, pauseMs, copy, reason }: Suspension,
  ): OutboxFact {
    const why = reason === undefined ? {} : { reason };
    const fact: HostFact = { type: 'suspended', ...this.#of(incarnation), bytes, pauseMs, copy, ...why };
    return this.#fact(incarnation, `suspended-${commandId}`, fact);
  }

  commandFailed(
    incarnation: IncarnationRecord,
    command: Extract<HostFact, { type: 'commandFailed' }>['command'],
    commandId: string,
    reason: string,
  ): OutboxFact {
    const fact: HostFact = { type: 'commandFailed', ...this.#of(incarnation), command, reason };
    return this.#fact(incarnation, `failed-${commandId}`, fact);
  }

  /** Its host has changed it on its own account. Each change is a fact of its own. */
  tuned(incarnation: IncarnationRecord, tuning: TuningRecord, reason: string): OutboxFact {
    const fact: HostFact = { type: 'tuned', ...this.#of(incarnation), tuning, reason };
    return this.#fact(incarnation, `tuned-${randomBytes(6).toString('hex')}`, fact);
  }

  /** Each observation is a fact of its own: it was made at another time. */
  observed(
    incarnation: { microvmId: string; epoch: number },
    as: 'starting' | 'running' | 'paused' | 'suspended',
    pid: number | undefined,
  ): OutboxFact {
    const fact: HostFact = {
      type: 'observed',
      ...this.#of(incarnation),
      as,
      ...(pid === undefined ? {} : { pid }),
      reason: 'the controller asked what it does',
    };
    return this.#fact(incarnation, `observed-${randomBytes(6).toString('hex')}`, fact);
  }

  absent(microvmId: string, epoch: number): OutboxFact {
    const of = { microvmId, epoch };
    const reason = 'this host holds nothing of it and will not start it';
    return this.#fact(of, 'absent', { type: 'absent', ...this.#of(of), reason });
  }

  #of({ epoch }: { epoch: number }): { hostId: string; epoch: number } {
    return { hostId: this.hostId, epoch };
  }

  #fact(of: { microvmId: string; epoch: number }, what: string, fact: HostFact): OutboxFact {
    return { factId: `${of.microvmId}-${of.epoch}-${what}`, microvmId: of.microvmId, at: this.now(), fact };
  }
}
