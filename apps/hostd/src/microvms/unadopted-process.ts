import { readFileSync } from 'node:fs';
import { parseProcessStat } from '#density';
import {
  VmmControlError,
  type ExitReport,
  type MicrovmProcess,
  type MicrovmStats,
  type SerialRead,
  type SnapshotReport,
  type VmmIdentity,
} from '#microvm';

const POLL_MS = 200;

/**
 * A VMM that runs but could not be taken over by the binding: its end is found by looking, it can be killed, and everything else
 * is refused with the reason. It keeps an agent's trouble (no descriptors left, a damaged page) from costing a guest its life.
 */
export class UnadoptedProcess implements MicrovmProcess {
  readonly exited: Promise<ExitReport>;
  readonly booted: Promise<bigint>;
  #timer: NodeJS.Timeout | undefined;

  constructor(
    readonly id: string,
    readonly identity: VmmIdentity,
    private readonly trouble: string,
  ) {
    this.booted = Promise.reject(this.#refusal());
    this.booted.catch(() => undefined);
    this.exited = new Promise((resolve) => {
      this.#timer = setInterval(() => {
        if (isRunning(identity)) return;
        clearInterval(this.#timer);
        const message = 'the process ended while the agent could only watch it';
        resolve({ reason: 'lost', message, atNs: process.hrtime.bigint() });
      }, POLL_MS);
      this.#timer.unref();
    });
  }

  pause(): Promise<void> {
    return Promise.reject(this.#refusal());
  }
  resume(): Promise<void> {
    return Promise.reject(this.#refusal());
  }
  pressPowerButton(): Promise<void> {
    return Promise.reject(this.#refusal());
  }
  pressCtrlAltDel(): Promise<void> {
    return Promise.reject(this.#refusal());
  }
  type(): Promise<number> {
    return Promise.reject(this.#refusal());
  }
  setLimit(): Promise<void> {
    return Promise.reject(this.#refusal());
  }
  setBalloon(): Promise<void> {
    return Promise.reject(this.#refusal());
  }
  snapshot(): Promise<SnapshotReport> {
    return Promise.reject(this.#refusal());
  }
  kill(): void {
    if (isRunning(this.identity)) process.kill(this.identity.pid, 'SIGKILL');
  }
  stats(): MicrovmStats {
    throw this.#refusal();
  }
  serial(): SerialRead {
    throw this.#refusal();
  }
  release(): void {
    clearInterval(this.#timer);
  }

  #refusal(): VmmControlError {
    return new VmmControlError(
      `the agent could not take over this VMM: ${this.trouble}; restart the agent to try again`,
    );
  }
}

/** Whether this very process still runs: its number may belong to another one by now. */
export function isRunning(identity: Pick<VmmIdentity, 'pid' | 'startTicks'>): boolean {
  try {
    const stat = parseProcessStat(readFileSync(`/proc/${identity.pid}/stat`, 'latin1'));
    return stat?.startTicks === identity.startTicks && stat.state !== 'Z' && stat.state !== 'X';
  } catch {
    return false;
  }
}
