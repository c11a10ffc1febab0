import { setTimeout as pause } from 'node:timers/promises';
import type { Logger } from 'pino';
import { OperationError, wantedDevices, type MicrovmSpec } from '#protocol';
import type { IncarnationRecord } from '../journal/host-record';
import type { GuestSockets } from '../microvms/guest-sockets';
import type { Door, Knock } from './door';
import { KnockGate } from './knock-limits';
import { NetworkDoor, type Way } from './network-door';
import { VsockDoor } from './vsock-door';

/** How often the doors are compared with what is suspended here, ms. */
const COMPARE_MS = 100;
/** From when it was asked to go on until its start is here, at most, ms. */
const WAKING_MS = 10_000;
/** Who comes right after it was suspended may be faster than the news of that is with the controllers: for so long it is asked again, and how often, ms. */
const NEWS_MS = 2_000;
const ASK_AGAIN_MS = 100;
/** After it could not be woken, or a door could not be opened, ms. */
const AGAIN_MS = 5_000;

export interface WakeDoorsParts {
  incarnations: ReadonlyMap<string, Readonly<IncarnationRecord>>;
  sockets: GuestSockets;
  nowMs: () => number;
  log: Logger;
  /** Where a port of the host leads when its microVM runs. */
  way?: Way;
  gate?: KnockGate;
}

/** Asks the controllers to let it go on. Rejects when they do not. */
export type Wake = (of: { microvmId: string; epoch: number }, knock: Knock) => Promise<void>;

type WakeSource = NonNullable<MicrovmSpec['wakeOn']>[number];

/** Where one of them may come. */
interface Entrance {
  /** Undefined while it is being opened, and where it cannot be. */
  door?: Door;
  opening?: Promise<void>;
  /** It is not tried before, ms. */
  notBefore: number;
}

interface Guarded {
  /** When it was first seen suspended, ms. */
  since: number;
  entrances: Map<WakeSource, Entrance>;
  /** It has been asked to go on, and whoever comes may wait, ms. */
  wakingUntil: number;
  /** It is not asked again before, ms. */
  notBefore: number;
}

/**
 * The doors of what is suspended on this host and wants to be woken by who comes. What is suspended says the host's journal, so
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
    this.#wake = undefined;
    for (const guarded of this.#doors.values()) for (const door of doorsOf(guarded)) door.close();
    this.#doors.clear();
  }

  /** The microVM for which a port is kept while it is suspended. */
  keeps(microvmId: string): boolean {
    return this.#doors.get(microvmId)?.entrances.has('packet') === true;
  }

  /** Whether a port belongs to a suspended microVM other than `except`, from its suspension on: its door may not be open yet. */
  isKept(protocol: 'tcp' | 'udp', port: number, except: string | undefined): boolean {
    for (const [id, { phase, spec }] of this.parts.incarnations) {
      if (phase !== 'suspended' || id === except || !wakesOn(spec).includes('packet')) continue;
      const forwards = wantedDevices(spec).network?.forwards ?? [];
      if (forwards.some((one) => one.protocol === protocol && one.hostPort === port)) return true;
    }
    return false;
  }

  /** Connections that wait for what they woke. */
  get held(): number {
    let sum = 0;
    for (const guarded of this.#doors.values()) for (const { held } of doorsOf(guarded)) sum += held;
    return sum;
  }

  /** Opens, closes and delivers as the journal says. */
  compare(): void {
    for (const [id, record] of this.parts.incarnations) {
      if (record.phase === 'suspended') for (const source of wakesOn(record.spec)) void this.#guard(id, record, source);
    }
    for (const id of this.#doors.keys()) this.changed(id);
  }

  /** One runs, or has ended: its doors need not wait for the next comparison. */
  changed(id: string): void {
    const guarded = this.#doors.get(id);
    const record = this.parts.incarnations.get(id);
    if (!guarded || record?.phase === 'suspended' || isOnItsWay(record)) return;
    this.#doors.delete(id);
    for (const door of doorsOf(guarded)) leave(door, record);
  }

  /**
   * One is suspended, and its VMM still there. Resolves when the socket of its guest has passed from that to this, where it is to; its ports pass with
   * its place.
   */
  async suspended(id: string): Promise<void> {
    const record = this.parts.incarnations.get(id);
    if (!this.#wake || record?.phase !== 'suspended' || !wakesOn(record.spec).includes('vsock')) return;
    await this.#guard(id, record, 'vsock');
  }

  #guard(id: string, { spec }: Readonly<IncarnationRecord>, source: WakeSource): Promise<void> | undefined {
    const { nowMs, log } = this.parts;
    const asleep = { since: nowMs(), wakingUntil: 0, notBefore: 0 };
    const guarded: Guarded = this.#doors.get(id) ?? { entrances: new Map(), ...asleep };
    this.#doors.set(id, guarded);
    const entrance: Entrance = guarded.entrances.get(source) ?? { notBefore: 0 };
    guarded.entrances.set(source, entrance);
    if (entrance.door || entrance.opening || nowMs() < entrance.notBefore) return entrance.opening;
    entrance.opening = this.#open(id, spec, source, (knock) => this.#knocked(id, guarded, knock))
      .then(
        (door) => {
          if (this.#doors.get(id) === guarded) entrance.door = door;
          else leave(door, this.parts.incarnations.get(id));
        },
        (error: unknown) => {
          entrance.notBefore = nowMs() + AGAIN_MS;
          log.warn({ err: error as Error, microvmId: id, source }, 'nobody can wake a suspended microVM in this way');
        },
      )
      .finally(() => delete entrance.opening);
    return entrance.opening;
  }

  #open(id: string, spec: MicrovmSpec, source: WakeSource, knocked: (knock: Knock) => boolean): Promise<Door> {
    const { sockets, log, way } = this.parts;
    if (source === 'vsock') return VsockDoor.open(sockets, id, knocked, log);
    return NetworkDoor.open(wantedDevices(spec).network?.forwards ?? [], knocked, log, way);
  }

  /** Whether what came may wait. */
  #knocked(id: string, guarded: Guarded, knock: Knock): boolean {
    const { incarnations, nowMs, log } = this.parts;
    if (nowMs() < guarded.wakingUntil) return true;
    const record = incarnations.get(id);
    if (record && record.phase !== 'suspended') return isOnItsWay(record) || record.phase === 'running';
    // Who may connect to the socket of a guest is the agent's own user, and needs no bound of his own.
    const address = knock.protocol === 'vsock' ? undefined : knock.address;
    if (!record || !this.#wake || nowMs() < guarded.notBefore || !this.#gate.mayWake(address)) return false;
    guarded.wakingUntil = nowMs() + WAKING_MS;
    log.info({ microvmId: id, ...knock }, 'somebody wakes a suspended microVM');
    this.#ask(id, guarded, knock).catch((error: unknown) => {
      // Somebody else may have been faster.
      if (incarnations.get(id)?.phase !== 'suspended') return;
      log.warn({ err: error as Error, microvmId: id }, 'a suspended microVM could not be woken');
      guarded.wakingUntil = 0;
      guarded.notBefore = nowMs() + AGAIN_MS;
      for (const door of doorsOf(guarded)) door.dismiss();
    });
    return true;
  }

  /** Has it go on. @throws what the controllers answer. */
  async #ask(id: string, { since }: Guarded, knock: Knock): Promise<void> {
    const { incarnations, nowMs } = this.parts;
    let tries = nowMs() - since < NEWS_MS ? NEWS_MS / ASK_AGAIN_MS : 1;
    for (;;) {
      const record = incarnations.get(id);
      if (!this.#wake || record?.phase !== 'suspended') return;
      try {
        return await this.#wake({ microvmId: id, epoch: record.epoch }, knock);
      } catch (error) {
        if (!isNews(error) || --tries === 0) throw error;
        await pause(ASK_AGAIN_MS, undefined, { ref: false });
      }
    }
  }
}

/** Whether the controllers may not have heard yet that it is suspended. */
const isNews = (error: unknown): boolean => error instanceof OperationError && error.code === 'conflict';

function* doorsOf({ entrances }: Guarded): Generator<Door> {
  for (const { door } of entrances.values()) if (door) yield door;
}

/** What waits at a door goes to what runs now, were it since before the door was wholly open. */
function leave(door: Door, record: Readonly<IncarnationRecord> | undefined): void {
  if (record?.phase === 'running') door.deliver(record);
  else door.close();
}

/** Between being suspended and running. */
function isOnItsWay(record: Readonly<IncarnationRecord> | undefined): boolean {
  return record?.restored === true && (record.phase === 'admitted' || record.phase === 'launched');
}

/** By which ways it can be reached and wants to be woken. */
export function wakesOn(spec: MicrovmSpec): WakeSource[] {
  const { network, vsock } = wantedDevices(spec);
  const isThere = { packet: (network?.forwards.length ?? 0) > 0, vsock };
  return (spec.wakeOn ?? []).filter((source) => isThere[source]);
}
