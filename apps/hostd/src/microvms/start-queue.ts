import { Pacer, type Permit } from '#concurrency';
import { OperationError } from '#protocol';
import type { Answer } from '../journal/host-record';
import { templateOf } from '../templates/template-of';
import type { HostCommand } from './command-rules';

/** How long a start waits for its turn before whoever asks is told to ask again; the controller waits for 2 s. */
const TURN_MS = 1_500;
/** How long a turn that has come waits for a jailed process; after that a start makes its own. */
const SHELL_MS = 250;

/** A start's turn to be launched: whoever takes its permit gives that back, else the queue does. */
export class Turn {
  #taken = false;

  constructor(
    private readonly permit: Permit,
    /** Wall clock, ms: when the start came to this host. */
    readonly receivedAt: number,
  ) {}

  take(): Permit {
    this.#taken = true;
    return this.permit;
  }

  giveBack(): void {
    if (!this.#taken) this.permit();
  }
}

export interface StartQueueParts {
  manager: { command(command: HostCommand, turn?: Turn): Promise<Answer> };
  /** Launches go through it. */
  pacer: Pacer;
  slots: { shellReady(ms: number, key?: string): Promise<void> };
  /** Wall clock, ms. */
  now: () => number;
}

/**
 * The queue in front of admission. A start is admitted when it can be launched at once, in a process that is jailed already, as far as
 * this host can make these in time: thousands that are wanted at the same moment wait here, in the order in which they came, with
 * nothing promised to them and nothing taken, and from admission on each takes as long as it would alone. Nothing else waits here.
 */
export class StartQueue {
  /** One at a time, from its turn until it is admitted: the shell that it waited for is the one that it takes. */
  readonly #door = new Pacer(1);
  /** Of each start in here. None depends on a signal that lives as long as the agent: such a signal lists those that do for ever. */
  readonly #ends = new Set<AbortController>();
  #isClosed = false;

  constructor(private readonly parts: StartQueueParts) {}

  /** Starts that wait for their turn. */
  get waiting(): number {
    return this.#door.waiting;
  }

  /** @throws OperationError `unavailable` when its turn does not come in time, and whatever the manager throws. */
  async command(command: HostCommand): Promise<Answer> {
    const { manager, now } = this.parts;
    if (command.type !== 'start') return manager.command(command);
    const receivedAt = now();
    const end = new AbortController();
    this.#ends.add(end);
    if (this.#isClosed) end.abort();
    const deadline = setTimeout(() => end.abort(), TURN_MS);
    const { signal } = end;
    let pass: Permit | undefined;
    let turn: Turn | undefined;
    try {
      pass = await this.#door.acquire(signal);
      turn = new Turn(await this.parts.pacer.acquire(signal), receivedAt);
      await this.parts.slots.shellReady(SHELL_MS, templateOf(command.spec));
      return await manager.command(command, turn);
    } catch (error) {
      if (turn || !signal.aborted) throw error;
      throw new OperationError('unavailable', this.#whyNot());
    } finally {
      clearTimeout(deadline);
      this.#ends.delete(end);
      turn?.giveBack();
      pass?.();
    }
  }

  #whyNot(): string {
    if (this.#isClosed) return 'this host agent is shutting down; ask again in a moment';
    return `its turn did not come within ${TURN_MS} ms: ${this.waiting} more starts wait on this host; ask again`;
  }

  /** Turns away who waits, and who comes. */
  close(): void {
    this.#isClosed = true;
    for (const end of this.#ends) end.abort();
  }
}
