import type { Logger } from 'pino';
import type { GuardAct, GuardReport, Guards, MicrovmClass } from '#protocol';
import {
  CLASSES,
  gatesAfter,
  OPEN_GATES,
  reclaim,
  RECLAIM_IDLE,
  type Admission,
  type Gates,
  type GuardReading,
  type ReclaimAction,
  type ReclaimCandidate,
} from '#scheduling';
import type { HostGauges } from './host-gauges';
import type { WaitWatch } from './wait-watch';

/** How often the host is looked at, ms. Memory can be gone within a second. */
const LOOK_MS = 250;
/** Above so much available memory, percent, pools are kept and nobody is asked what could be taken back: there may be thousands. */
const PLENTY = 15;

/** What can be done to a microVM for its memory. Each tells its history why. */
export interface Reclaimer {
  candidates(): Omit<ReclaimCandidate, 'idleMs'>[];
  balloon(microvmId: string, mib: number, reason: string): void;
  suspend(microvmId: string, reason: string): void;
  /** Ends it at once. */
  evict(microvmId: string, reason: string): void;
}

export interface GuardKeeperParts {
  gauges: Pick<HostGauges, 'read'>;
  waits: Pick<WaitWatch, 'guaranteedWait' | 'idleMs'>;
  admission: Pick<Admission, 'guard'>;
  reclaimer: Reclaimer;
  /** Ends the clones that wait in pools, and says how many there were. */
  giveUpPools: () => number;
  /** For the history of the host. */
  tell: (act: GuardAct) => void;
  /** Steady clock, ms. */
  nowMs: () => number;
  /** Wall clock, ms. */
  wallMs: () => number;
  log: Logger;
}

/**
 * Looks at the host a few times a second, shuts and opens its admission, and takes memory back before the kernel has to. What is to be
 * done is decided by pure functions of libs/scheduling; here it is done, counted and said.
 */
export class GuardKeeper {
  #gates: Gates = OPEN_GATES;
  #guards: Guards = {};
  readonly #since: Record<MicrovmClass, number>;
  #reading: GuardReading;
  #reclaim = RECLAIM_IDLE;
  #hasBalloons = false;
  readonly #reclaimed = { ballooned: 0, suspended: 0, evicted: 0 };
  #timer: NodeJS.Timeout | undefined;

  constructor(private readonly parts: GuardKeeperParts) {
    const now = parts.wallMs();
    this.#since = { guaranteed: now, bestEffort: now };
    this.#reading = this.#read();
  }

  start(): void {
    this.#timer = setInterval(() => {
      try {
        this.look();
      } catch (error) {
        this.parts.log.error({ err: error as Error }, 'the guards could not look at the host');
      }
    }, LOOK_MS);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** From now on these limits hold; a class that is not among them has the default ones. */
  limitBy(guards: Guards): void {
    this.#guards = guards;
  }

  /** One look, and what follows from it. */
  look(): void {
    const { nowMs, reclaimer, waits } = this.parts;
    this.#reading = this.#read();
    this.#turn(gatesAfter(this.#gates, this.#reading, nowMs(), this.#guards));
    if (this.#reading.availableMemory >= PLENTY && !this.#hasBalloons) return;
    if (this.#reading.availableMemory < PLENTY) this.#giveUpPools();
    const candidates = reclaimer.candidates().map((one) => ({ ...one, idleMs: waits.idleMs(one.microvmId) }));
    this.#hasBalloons = candidates.some(({ balloonMiB = 0 }) => balloonMiB > 0);
    const { state, actions } = reclaim(this.#reclaim, this.#reading, candidates, nowMs());
    this.#reclaim = state;
    for (const action of actions) this.#act(action);
  }

  /** What is nobody's goes first. */
  #giveUpPools(): void {
    const { giveUpPools, tell, wallMs, log } = this.parts;
    const clones = giveUpPools();
    if (clones === 0) return;
    const { availableMemory, availableMiB, usableMiB } = this.#reading;
    const figures = `${Math.round(availableMemory)} % (${Math.round(availableMiB)} of ${Math.round(usableMiB)} MiB)`;
    const reason = `available memory ${figures} is below ${PLENTY} %`;
    log.warn({ clones, reason }, 'clones that waited in pools are given up');
    tell({ act: 'poolsGivenUp', at: wallMs(), clones, reason, reading: this.#reading });
  }

  report(): GuardReport {
    const gateOf = (of: MicrovmClass) => {
      const { open, reason } = this.#gates[of];
      return { open, since: this.#since[of], ...(reason === undefined ? {} : { reason }) };
    };
    return {
      gates: { guaranteed: gateOf('guaranteed'), bestEffort: gateOf('bestEffort') },
      reclaimed: { ...this.#reclaimed },
      reading: this.#reading,
    };
  }

  #read(): GuardReading {
    return { ...this.parts.gauges.read(), vcpuWait: this.parts.waits.guaranteedWait() };
  }

  #turn(next: Gates): void {
    const before = this.#gates;
    this.#gates = next;
    this.parts.admission.guard(next);
    for (const one of CLASSES) {
      if (before[one].open === next[one].open) continue;
      const at = this.parts.wallMs();
      const afterMs = Math.max(0, at - this.#since[one]);
      this.#since[one] = at;
      const { open } = next[one];
      // It opens for the opposite of what shut it.
      const reason = (open ? before : next)[one].reason ?? 'no guard trips';
      this.parts.tell({ act: 'admission', at, class: one, open, reason, afterMs, reading: this.#reading });
      this.parts.log.warn({ class: one, reason }, `admission ${open ? 'opens' : 'shuts'}`);
    }
  }

  #act({ microvmId, step, mib, reason }: ReclaimAction): void {
    const { reclaimer, log } = this.parts;
    log.warn({ microvmId, step, mib, reason }, 'memory is taken back or given');
    const at = this.parts.wallMs();
    this.parts.tell({ act: 'reclaim', at, microvmId, step, mib, reason, reading: this.#reading });
    switch (step) {
      case 'balloon':
        this.#reclaimed.ballooned++;
        this.#hasBalloons = true;
        return reclaimer.balloon(microvmId, mib, reason);
      case 'deflate':
        return reclaimer.balloon(microvmId, 0, reason);
      case 'suspend':
        this.#reclaimed.suspended++;
        return reclaimer.suspend(microvmId, reason);
      case 'evict':
        this.#reclaimed.evicted++;
        return reclaimer.evict(microvmId, reason);
    }
  }
}
