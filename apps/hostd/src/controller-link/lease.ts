import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Longest delay that a timer takes. */
const TIMER_MAX_MS = 2 ** 31 - 1;

export interface LeaseOptions {
  /** File on tmpfs in which the end of the lease outlives the agent: an agent that was away must not believe it never ended. */
  path: string;
  /** Names this boot of the machine: monotonic time of another one means nothing. */
  bootId: string;
  /** Monotonic clock, ms. */
  nowMs?: () => number;
  /** Called each time the lease ends without having been renewed, and at once when it had ended before this agent began. */
  onEnd: () => void;
}

/**
 * How long this host may act without hearing from the controllers. Counted from the moment a renewal was *sent*, on the
 * monotonic clock, so that the host lets go before the controllers stop waiting.
 */
export class Lease {
  #until: number;
  #sentAt = -Infinity;
  #timer: NodeJS.Timeout | undefined;
  readonly #nowMs: () => number;

  constructor(private readonly options: LeaseOptions) {
    this.#nowMs = options.nowMs ?? (() => Number(process.hrtime.bigint()) / 1e6);
    this.#until = leaseEnd(options.path, options.bootId);
  }

  /** Begins to watch: whoever is told of the end must be ready by now. */
  watch(): void {
    this.#arm();
  }

  held(): boolean {
    return this.#nowMs() < this.#until;
  }

  /** What to pass to {@link renew}; to be read before the renewal is sent. */
  now(): number {
    return this.#nowMs();
  }

  /** The renewal that was sent last counts, also when it shortens the lease; an answer to an earlier one changes nothing. */
  renew(sentAtMs: number, leaseMs: number): void {
    if (sentAtMs < this.#sentAt) return;
    this.#sentAt = sentAtMs;
    this.#until = sentAtMs + leaseMs;
    this.#store();
    this.#arm();
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #arm(): void {
    clearTimeout(this.#timer);
    const leftMs = this.#until - this.#nowMs();
    if (leftMs <= 0) return this.options.onEnd();
    this.#timer = setTimeout(() => this.#arm(), Math.min(TIMER_MAX_MS, Math.ceil(leftMs)));
    this.#timer.unref();
  }

  #store(): void {
    const { path, bootId } = this.options;
    writeFileSync(`${path}.new`, JSON.stringify({ bootId, untilMs: this.#until }), { mode: 0o600 });
    renameSync(`${path}.new`, path);
  }
}

/** The file of an agent's lease, below its run folders. */
export const leaseFileIn = (root: string): string => join(root, 'lease');

/** Until when the lease in this file holds, ms on the monotonic clock. No file, another boot, or rubbish: no lease. */
export function leaseEnd(path: string, boot: string): number {
  try {
    const { bootId, untilMs } = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
    return bootId === boot && typeof untilMs === 'number' ? untilMs : -Infinity;
  } catch {
    return -Infinity;
  }
}
