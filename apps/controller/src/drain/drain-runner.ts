import { Inject, Injectable, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import type { Logger } from 'pino';
import { LOGGER } from '#bus';
import { DeadlineQueue, steadyClock, wallClockMs } from '#journal';
import { hostContext, hostState, MICROVM_LIMITS, microvmContext, type HostLife, type MicrovmLife } from '#lifecycle';
import { partitionOf, type Cause, type Drain, type DrainProgress, type HostEvent, type MicrovmEvent } from '#protocol';
import { HostHistories } from '../histories/host-histories';
import { MicrovmHistories } from '../histories/microvm-histories';
import { Partitions } from '../partitions/partitions';
import { takeCensus, turnOf, type DrainCensus } from './drain-census';
import { DRY_RUN_MOST, PlacesElsewhere } from './places-elsewhere';

/** Changes of microVMs come in bunches: they are looked at together, ms. */
const GATHER_MS = 20;
/** When room is looked for again where there was none, ms. */
const ROOM_RETRY_MS = 2_000;
/** How long a place is kept beyond the time in which the guest may power off, ms: until its host has answered for the start. */
const START_MS = MICROVM_LIMITS.stopGrace + MICROVM_LIMITS.placementDeadline;
/** How often progress is recorded at most, ms. */
const PROGRESS_MS = 1_000;

const CAUSE: Cause = { kind: 'controller', by: 'drain' };

/**
 * Empties hosts that are draining, as many microVMs at a time as was ordered. Each round reads from the histories how things stand and
 * takes what is due next; nothing else is remembered, so any controller can go on where another ended. The owner of the host does it.
 *
 * Nothing is ended for want of a place that could have been known: a place elsewhere is chosen and kept first, then the microVM is told
 * to move there. What finds no place runs on.
 */
@Injectable()
export class DrainRunner implements OnApplicationBootstrap, OnModuleDestroy {
  readonly #rounds = new DeadlineQueue<string>({ due: (hostId) => void this.#round(hostId), clock: steadyClock });
  readonly #underWay = new Set<string>();
  /** Hosts with a drain that is not cancelled. */
  readonly #drains = new Set<string>();

  constructor(
    private readonly hosts: HostHistories,
    private readonly microvms: MicrovmHistories,
    private readonly partitions: Partitions,
    private readonly places: PlacesElsewhere,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    hosts.listen({ changed: (life) => this.#hostChanged(life), asked: () => {} });
    microvms.listen({ changed: (life) => this.#microvmChanged(life), asked: () => {} });
    partitions.onChange(({ gained }) => {
      for (const hostId of this.#drains) if (gained.has(partitionOf(hostId))) this.#wake(hostId, GATHER_MS);
    });
  }

  onApplicationBootstrap(): void {
    for (const life of this.hosts.all()) this.#hostChanged(life);
  }

  onModuleDestroy(): void {
    this.#rounds.stop();
  }

  #hostChanged(life: HostLife): void {
    if (hostContext(life).drain) {
      this.#drains.add(life.id);
      this.#wake(life.id, GATHER_MS);
    } else this.#drains.delete(life.id);
  }

  #microvmChanged(life: MicrovmLife): void {
    if (this.#drains.size === 0) return;
    const { hostId, move } = microvmContext(life);
    if (hostId !== null && this.#drains.has(hostId)) this.#wake(hostId, GATHER_MS);
    if (move && this.#drains.has(move.from)) this.#wake(move.from, GATHER_MS);
  }

  /** Has a round done in `ms` at the latest. */
  #wake(hostId: string, ms: number): void {
    const at = steadyClock.now() + ms;
    if ((this.#rounds.get(hostId) ?? Infinity) > at) this.#rounds.set(hostId, at);
  }

  async #round(hostId: string): Promise<void> {
    if (this.#underWay.has(hostId)) return this.#wake(hostId, GATHER_MS);
    this.#underWay.add(hostId);
    try {
      await this.#advance(hostId);
    } catch (error) {
      this.logger.warn({ err: error, hostId }, 'a drain does not go on yet');
      this.#wake(hostId, ROOM_RETRY_MS);
    } finally {
      this.#underWay.delete(hostId);
    }
  }

  async #advance(hostId: string): Promise<void> {
    const host = this.hosts.get(hostId);
    const drain = host && hostContext(host).drain;
    if (!drain || !this.partitions.owns(hostId)) return;
    const state = hostState(host);
    if (state !== 'draining' && state !== 'drained') return;
    const census = takeCensus(hostId, drain.requestedAt, this.microvms.index.values());
    const turned = this.#turningPoint(state, census);
    await this.#tell(host, drain, census.progress, turned);
    if (census.alive.length > 0 && this.#isDraining(hostId)) await this.#takeNext(hostId, drain, census);
  }

  #turningPoint(state: 'draining' | 'drained', { alive }: DrainCensus): HostEvent[] {
    if (state === 'draining' && alive.length === 0) return [{ type: 'drainCompleted' }];
    if (state === 'drained' && alive.length > 0) return [{ type: 'drainReopened' }];
    return [];
  }

  async #tell(host: HostLife, drain: Drain, progress: DrainProgress, turned: HostEvent[]): Promise<void> {
    const isNew = JSON.stringify(progress) !== JSON.stringify(drain.progress);
    if (!isNew && turned.length === 0) return;
    const waitMs = host.updatedAt + PROGRESS_MS - wallClockMs();
    // More than the whole length: the clock has been put back since that record.
    if (turned.length === 0 && waitMs > 0 && waitMs <= PROGRESS_MS) return this.#wake(host.id, waitMs);
    const events: HostEvent[] = [...(isNew ? [{ type: 'drainProgressed' as const, progress }] : []), ...turned];
    await this.hosts.record(host.id, { commandId: `drain.${host.id}.${host.revision}`, cause: CAUSE }, events);
  }

  async #takeNext(hostId: string, drain: Drain, { alive, progress }: DrainCensus): Promise<void> {
    const free = drain.parallel - progress.moving;
    if (free <= 0) return;
    const stops = alive.filter((life) => turnOf(life, drain) === 'stop').slice(0, free);
    await Promise.all(
      stops.map((life) => this.#order(life, 'stop', { type: 'stopRequested', timeoutMs: drain.graceMs })),
    );
    const movable = alive.filter((life) => turnOf(life, drain) === 'move');
    if (movable.length === 0 || stops.length === free) return;
    const moved = await this.#move(hostId, drain, movable.slice(0, DRY_RUN_MOST), free - stops.length);
    if (moved === 0) this.#wake(hostId, ROOM_RETRY_MS);
  }

  /** Moves at most `most` of these; as many as there is room for. */
  async #move(hostId: string, { graceMs }: Drain, movable: MicrovmLife[], most: number): Promise<number> {
    // A dry run first: what finds no place is asked about again and again, and leaves no receipt each time.
    const found = await this.places.lookFor(movable, hostId);
    const next = movable.filter((_, i) => found[i]?.hostId != null).slice(0, most);
    const moves = next.map(async (life) => {
      const { hostId: to, receiptId } = await this.places.keep(life, hostId, graceMs + START_MS);
      if (to === null || !this.#isDraining(hostId)) return false;
      return this.#order(life, 'move', { type: 'moveRequested', to, receiptId, graceMs });
    });
    return (await Promise.all(moves)).filter(Boolean).length;
  }

  /** Cancelled meanwhile, nothing more is touched. */
  #isDraining(hostId: string): boolean {
    const host = this.hosts.get(hostId);
    return host !== undefined && hostState(host) === 'draining';
  }

  /** False: its state had changed, and the next round sees to it. */
  async #order(life: MicrovmLife, what: string, event: MicrovmEvent): Promise<boolean> {
    const who = { commandId: `drain.${what}.${life.id}.${life.revision}`, cause: CAUSE };
    const { decision } = await this.microvms.record(life.id, who, [event]);
    return decision.kind === 'record';
  }
}
