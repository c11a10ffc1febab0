import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import { LOGGER, SHUTDOWN } from '#bus';
import { Pacer } from '#concurrency';
import type { MicrovmEffect, MicrovmLife } from '#lifecycle';
import { OperationError, partitionOf, type ErrorCode } from '#protocol';
import { MicrovmHistories } from '../histories/microvm-histories';
import { Partitions } from '../partitions/partitions';
import { HostCommandEffect } from './host-command.effect';
import { PlaceEffect } from './place.effect';

/** Pacing: more in flight makes every one of them slower and none of them sooner. */
const COMMANDS_EACH_HOST = 64;
const BACKOFF_MS = { first: 50, most: 2_000 };
/** Tries of an effect that no state waits for (reviews, cleaning up): the next review or registration repeats it. */
const UNAWAITED_TRIES = 3;
/** Failures that need no operator: whoever was asked is away or busy. */
const PASSING: readonly ErrorCode[] = ['unavailable', 'timeout', 'overloaded'];

/**
 * Does effects at least once. What the state of a microVM waits for is asked by the owner of its partition, whoever wrote the record, and
 * repeated until it was taken, the state was left, or the partition is another's; a new owner asks for everything outstanding again.
 */
@Injectable()
export class EffectRunner {
  /** One each, so that a host that does not answer holds up nobody but itself. */
  readonly #hostCommands = new Map<string, Pacer>();
  /** Effects under way, so that the same one is not done twice at a time. */
  readonly #underWay = new Set<string>();
  /** Effects waiting for their next try, by host, to be woken when the host is back. */
  readonly #sleepers = new Map<string, Set<() => void>>();

  constructor(
    private readonly histories: MicrovmHistories,
    private readonly placeEffect: PlaceEffect,
    private readonly hostCommandEffect: HostCommandEffect,
    private readonly partitions: Partitions,
    @Inject(LOGGER) private readonly logger: Logger,
    @Inject(SHUTDOWN) private readonly shutdown: AbortSignal,
  ) {
    histories.listen({
      changed: (life) => {
        const entered = life.enteredAt === life.updatedAt;
        if (entered && life.outstanding.length > 0 && partitions.owns(life.id)) this.perform(life, life.outstanding);
      },
      asked: (life, effects) => this.perform(life, effects),
    });
    partitions.onChange(({ gained }) => {
      for (const life of histories.index.values()) {
        if (gained.has(partitionOf(life.id))) this.perform(life, life.outstanding);
      }
    });
  }

  perform(life: MicrovmLife, effects: readonly MicrovmEffect[]): void {
    for (const effect of effects) void this.#performOnce(life, effect);
  }

  /** A host is back: what waits for it is tried now, and what its microVMs, as far as they are ours, wait for is asked again. */
  hostReturned(hostId: string, lives: Iterable<MicrovmLife>): void {
    for (const wake of [...(this.#sleepers.get(hostId) ?? [])]) wake();
    for (const life of lives) if (this.partitions.owns(life.id)) this.perform(life, life.outstanding);
  }

  async #performOnce(life: MicrovmLife, effect: MicrovmEffect): Promise<void> {
    const key = `${life.id} ${effect.type} ${effect.epoch} ${life.enteredAt}`;
    if (this.#underWay.has(key)) return;
    this.#underWay.add(key);
    try {
      await this.#performUntilTaken(life, effect);
    } finally {
      this.#underWay.delete(key);
    }
  }

  async #performUntilTaken(life: MicrovmLife, effect: MicrovmEffect): Promise<void> {
    const awaited = life.outstanding.some(({ type, epoch }) => type === effect.type && epoch === effect.epoch);
    // enteredAt changes with every entry into a state, so equality means that the asking state was not left.
    const wanted = (): boolean =>
      !this.shutdown.aborted &&
      (!awaited || (this.histories.index.get(life.id)?.enteredAt === life.enteredAt && this.partitions.owns(life.id)));
    let backoff = BACKOFF_MS.first;
    for (let tries = 1; wanted(); tries++) {
      try {
        await (effect.type === 'place'
          ? this.placeEffect.perform(life, effect, wanted)
          : this.#paceOf(effect.hostId).run(() => this.hostCommandEffect.perform(life, effect)));
        return;
      } catch (error) {
        if (this.shutdown.aborted) return;
        const passing = error instanceof OperationError && PASSING.includes(error.code);
        this.logger[passing ? 'debug' : 'error'](
          { err: error, microvmId: life.id, effect: effect.type, tries },
          'effect not done yet',
        );
        if (!awaited && tries >= UNAWAITED_TRIES) return;
        await this.#sleep(effect.type === 'place' ? undefined : effect.hostId, backoff);
        backoff = Math.min(backoff * 2, BACKOFF_MS.most);
      }
    }
  }

  #paceOf(hostId: string): Pacer {
    const known = this.#hostCommands.get(hostId);
    if (known) return known;
    const pacer = new Pacer(COMMANDS_EACH_HOST);
    this.#hostCommands.set(hostId, pacer);
    return pacer;
  }

  #sleep(hostId: string | undefined, ms: number): Promise<void> {
    return new Promise((resolve) => {
      const sleepers = hostId === undefined ? undefined : (this.#sleepers.get(hostId) ?? new Set());
      if (hostId !== undefined && sleepers) this.#sleepers.set(hostId, sleepers);
      const wake = (): void => {
        clearTimeout(timer);
        this.shutdown.removeEventListener('abort', wake);
        sleepers?.delete(wake);
        if (hostId !== undefined && sleepers?.size === 0) this.#sleepers.delete(hostId);
        resolve();
      };
      const timer = setTimeout(wake, ms);
      this.shutdown.addEventListener('abort', wake, { once: true });
      sleepers?.add(wake);
    });
  }
}
