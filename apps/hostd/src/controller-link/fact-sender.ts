import { setMaxListeners } from 'node:events';
import type { Logger } from 'pino';
import type { BusClient } from '#bus';
import { Pacer } from '#concurrency';
import { OperationError, reportFact, reportGuardActs } from '#protocol';
import type { OutboxActs, OutboxFact } from '../journal/host-record';

type ToTell = OutboxFact | OutboxActs;
/** Acts of the host's guards go in a lane of their own; no microVM has this name. */
const ACTS = '';
const laneOf = (fact: ToTell): string => ('microvmId' in fact ? fact.microvmId : ACTS);

/** Facts name themselves, so one that a controller took with it when it died is told again instead of waited for. */
const REPEAT_AFTER_MS = 1_000;

export interface FactSenderParts {
  bus: Pick<BusClient, 'call'>;
  hostId: string;
  /** Writes down that these facts need not be told any more. */
  acknowledge: (factIds: string[]) => void;
  log: Logger;
  /** Different microVMs whose facts are under way at once. Default 64. */
  lanes?: number;
}

const BACKOFF_MIN_MS = 50;
const BACKOFF_MAX_MS = 1_000;

/**
 * Tells facts to the controller until it has answered: for each microVM one after another, in the order in which they happened;
 * different microVMs side by side. While nobody answers, it asks less and less often, at most a second apart.
 */
export class FactSender {
  /** Facts still to be told, by microVM; the first one is under way. */
  readonly #lanes = new Map<string, ToTell[]>();
  readonly #pacer: Pacer;
  readonly #stop = new AbortController();
  #acked: string[] = [];
  #backoffMs = 0;
  #quietUntil = 0;
  readonly #waiting = new Set<() => void>();

  constructor(private readonly parts: FactSenderParts) {
    this.#pacer = new Pacer(parts.lanes ?? 64);
    setMaxListeners(0, this.#stop.signal); // one for each fact under way
  }

  /** Facts not answered yet. */
  get waiting(): number {
    let count = 0;
    for (const lane of this.#lanes.values()) count += lane.length;
    return count;
  }

  send(facts: Iterable<ToTell>): void {
    if (this.#stop.signal.aborted) return;
    for (const fact of facts) {
      const name = laneOf(fact);
      const lane = this.#lanes.get(name);
      if (lane) {
        if (!lane.some(({ factId }) => factId === fact.factId)) lane.push(fact);
        continue;
      }
      const fresh = [fact];
      this.#lanes.set(name, fresh);
      void this.#serve(name, fresh);
    }
  }

  /** A controller answers again: do not wait any longer. */
  hurry(): void {
    this.#backoffMs = 0;
    this.#quietUntil = 0;
    for (const wake of [...this.#waiting]) wake();
  }

  /** Stops telling; what was not answered stays in the journal. Writes down what was. */
  stop(): void {
    this.#stop.abort(new Error('stopped'));
    this.#flush();
    for (const wake of [...this.#waiting]) wake();
  }

  async #serve(name: string, lane: ToTell[]): Promise<void> {
    const { signal } = this.#stop;
    let failures = 0;
    while (lane.length > 0 && !signal.aborted) {
      try {
        const permit = await this.#pacer.acquire(signal);
        let outcome: 'told' | 'later';
        try {
          await this.#pause(this.#quietUntil - performance.now());
          outcome = await this.#tell(lane[0]!);
        } finally {
          permit();
        }
        failures = outcome === 'told' ? 0 : failures + 1;
        if (outcome === 'told') lane.shift();
        else await this.#pause(Math.min(BACKOFF_MAX_MS, BACKOFF_MIN_MS * 2 ** Math.min(failures, 10)));
      } catch {
        return; // stopped
      }
    }
    if (lane.length === 0) this.#lanes.delete(name);
  }

  /** Tells one fact once. `told`: it need not be told again. */
  async #tell(fact: ToTell): Promise<'told' | 'later'> {
    const { bus, hostId, log } = this.parts;
    const options = { values: { hostId }, repeatAfterMs: REPEAT_AFTER_MS };
    try {
      const { recorded } =
        'microvmId' in fact
          ? await bus.call(reportFact, fact, options)
          : await bus.call(reportGuardActs, fact, options);
      if (!recorded) log.debug({ fact }, 'a fact was stale');
      this.#backoffMs = 0;
    } catch (error) {
      if (this.#stop.signal.aborted) return 'later';
      const code = error instanceof OperationError ? error.code : 'internal';
      if (code !== 'invalid' && code !== 'unsupported' && code !== 'forbidden') {
        // Controllers of an older version do not hear of guards: that must not slow down the rest.
        this.#noteFailure(error as Error, laneOf(fact) === ACTS ? 'internal' : code);
        return 'later';
      }
      // It will never be taken, and must not keep later facts of this microVM waiting for ever.
      log.error({ err: error as Error, fact }, 'the controller refuses a fact for good: it is given up');
    }
    this.#acknowledge(fact.factId);
    return 'told';
  }

  /** Nobody there: everybody waits, not only this microVM. Any other failure may be this fact's own. */
  #noteFailure(error: Error, code: string): void {
    if (code !== 'unavailable') return this.parts.log.warn({ reason: error.message }, 'a fact was not taken');
    if (this.#backoffMs === 0) this.parts.log.warn({ reason: error.message }, 'facts cannot be told at the moment');
    this.#backoffMs = Math.min(BACKOFF_MAX_MS, Math.max(BACKOFF_MIN_MS, this.#backoffMs * 2));
    this.#quietUntil = performance.now() + this.#backoffMs;
  }

  async #pause(ms: number): Promise<void> {
    if (ms <= 0 || this.#stop.signal.aborted) return;
    await new Promise<void>((resolve) => {
      const wake = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(wake);
        resolve();
      };
      // Not all at the same instant.
      const timer = setTimeout(wake, ms * (1 + Math.random() / 2));
      this.#waiting.add(wake);
    });
  }

  #acknowledge(factId: string): void {
    if (this.#acked.push(factId) === 1) setImmediate(() => this.#flush());
  }

  /** One record for all answers of a turn. Lost with a crash, it only means that facts are told again. */
  #flush(): void {
    if (this.#acked.length === 0) return;
    const factIds = this.#acked;
    this.#acked = [];
    this.parts.acknowledge(factIds);
  }
}
