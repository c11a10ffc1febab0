import type { Logger } from 'pino';
import { wantedDevices, type MicrovmSpec } from '#protocol';
import type { IncarnationRecord } from '../journal/host-record';
import { Door, OWN_PORT, type Knock, type Way } from './door';
import { KnockGate } from './knock-limits';

/** How often the doors are compared with what is suspended here, ms. */
const COMPARE_MS = 100;
/** From when it was asked to go on until its start is here, at most, ms. */
const WAKING_MS = 10_000;
/** After it could not be woken, or a door could not be opened, ms. */
const AGAIN_MS = 5_000;

export interface WakeDoorsParts {
  incarnations: ReadonlyMap<string, Readonly<IncarnationRecord>>;
  nowMs: () => number;
  log: Logger;
  /** Where a port of the host leads when its microVM runs. */
  way?: Way;
  gate?: KnockGate;
}

/** Asks the controllers to let it go on. Rejects when they do not. */
export type Wake = (of: { microvmId: string; epoch: number }, knock: Knock) => Promise<void>;

interface Guarded {
  /** Undefined while it is being opened, and where it cannot be. */
  door?: Door;
  isOpening: boolean;
  /** It has been asked to go on, and whoever comes may wait, ms. */
  wakingUntil: number;
  /** Neither is tried before, ms. */
  notBefore: number;
}

/**
 * The doors of what is suspended on this host and wants to be woken by who comes over the network. What is suspended says the host's journal, so
 * that they are there again after a restart of the agent, and none is left when a microVM is gone.
 */
export class WakeDoors {
  readonly #doors = new Map<string, Guarded>();
  readonly #gate: KnockGate;
  #wake: Wake | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(private readonly parts: WakeDoorsParts) {
    this.#gate = parts.gate ?? new KnockGate(parts.nowMs);
  }

  /** From now on there is somebody to ask. */
  connect(wake: Wake): void {
    this.#wake = wake;
    this.#timer ??= setInterval(() => this.compare(), COMPARE_MS).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
    for (const { door } of this.#doors.values()) door?.close();
    this.#doors.clear();
  }

  /** The microVM for which a port is kept while it is suspended. */
  keeps(microvmId: string): boolean {
    return this.#doors.has(microvmId);
  }

  /** Connections that wait for what they woke. */
  get held(): number {
    let sum = 0;
    for (const { door } of this.#doors.values()) sum += door?.held ?? 0;
    return sum;
  }

  /** Opens, closes and delivers as the journal says. */
  compare(): void {
    const { incarnations } = this.parts;
    for (const [id, record] of incarnations) {
      if (record.phase === 'suspended' && wakesOnPacket(record.spec)) this.#guard(id, record);
    }
    for (const [id, guarded] of this.#doors) {
      const record = incarnations.get(id);
      if (record?.phase === 'suspended' || isOnItsWay(record)) continue;
      this.#doors.delete(id);
      this.#leave(id, guarded.door);
    }
  }

  #guard(id: string, { spec }: Readonly<IncarnationRecord>): void {
    const guarded: Guarded = this.#doors.get(id) ?? { isOpening: false, wakingUntil: 0, notBefore: 0 };
    this.#doors.set(id, guarded);
    if (guarded.door || guarded.isOpening || this.parts.nowMs() < guarded.notBefore) return;
    guarded.isOpening = true;
    const forwards = wantedDevices(spec).network?.forwards ?? [];
    Door.open(forwards, (knock) => this.#knocked(id, guarded, knock), this.parts.log).then(
      (door) => {
        guarded.isOpening = false;
        if (this.#doors.get(id) === guarded) guarded.door = door;
        else this.#leave(id, door);
      },
      (error: unknown) => {
        guarded.isOpening = false;
        guarded.notBefore = this.parts.nowMs() + AGAIN_MS;
        this.parts.log.warn(
          { err: error as Error, microvmId: id },
          'nobody can wake a suspended microVM over the network',
        );
      },
    );
  }

  /** What waits at it goes to what runs now, were it since before the door was wholly open. */
  #leave(id: string, door: Door | undefined): void {
    if (this.parts.incarnations.get(id)?.phase === 'running') door?.deliver(this.parts.way ?? OWN_PORT);
    door?.close();
  }

  /** Whether what came may wait. */
  #knocked(id: string, guarded: Guarded, knock: Knock): boolean {
    const { incarnations, nowMs, log } = this.parts;
    if (nowMs() < guarded.wakingUntil) return true;
    const record = incarnations.get(id);
    if (record && record.phase !== 'suspended') return isOnItsWay(record) || record.phase === 'running';
    if (!record || !this.#wake || nowMs() < guarded.notBefore || !this.#gate.mayWake(knock.address)) return false;
    guarded.wakingUntil = nowMs() + WAKING_MS;
    log.info({ microvmId: id, ...knock }, 'somebody wakes a suspended microVM');
    this.#wake({ microvmId: id, epoch: record.epoch }, knock).catch((error: unknown) => {
      // Somebody else may have been faster.
      if (incarnations.get(id)?.phase !== 'suspended') return;
      log.warn({ err: error as Error, microvmId: id }, 'a suspended microVM could not be woken');
      guarded.wakingUntil = 0;
      guarded.notBefore = nowMs() + AGAIN_MS;
      guarded.door?.dismiss();
    });
    return true;
  }
}

/** Between being suspended and running. */
function isOnItsWay(record: Readonly<IncarnationRecord> | undefined): boolean {
  return record?.restored === true && (record.phase === 'admitted' || record.phase === 'launched');
}

function wakesOnPacket(spec: MicrovmSpec): boolean {
  return spec.wakeOn?.includes('packet') === true && (wantedDevices(spec).network?.forwards.length ?? 0) > 0;
}
