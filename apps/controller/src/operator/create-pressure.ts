import { Injectable } from '@nestjs/common';
import { microvmContext, microvmState, type MicrovmLife } from '#lifecycle';
import { OperationError } from '#protocol';
import { MicrovmHistories } from '../histories/microvm-histories';

/** More is accepted only as long as the fleet gets through what it has accepted within this time, ms. */
const TARGET_MS = 2_000;
/** Accepted whatever the pace: bursts, and a fleet that has just started and knows no pace yet. */
const AT_LEAST = 512;
/** Creates that this process is recording at a time: beyond, every one of them only gets slower. */
const MAX_RECORDING = 256;
/** MicroVMs that wait for a host to have room. */
const MAX_WAITING = 10_000;
/** What is shed from everybody begins at this multiple of what is shed from those who have more than their share. */
const HARD = 1.5;
/** Time constant of the pace, ms. */
const PACE_MS = 2_000;
const RETRY_MS = { least: 500, most: 10_000 };

/**
 * Sheds creates that the fleet cannot get through in time, at the door: what was accepted is done, and what is turned away costs next to
 * nothing, so that twice the load gives no less than the whole. Who has more under way than an equal share of the tenants is turned away first.
 */
@Injectable()
export class CreatePressure {
  /** MicroVMs on their way to running (not those that wait for room), by id. */
  readonly #underWay = new Map<string, string>();
  readonly #byTenant = new Map<string, number>();
  readonly #waiting = new Set<string>();
  #recording = 0;
  /** Arrivals at rest per ms, smoothed. */
  #pace = 0;
  #pacedAtMs = performance.now();

  constructor(histories: MicrovmHistories) {
    histories.listen({ changed: (life) => this.#follow(life), asked: () => {} });
  }

  /**
   * Records a create, unless there is too much under way.
   *
   * @throws OperationError `overloaded`, with the time after which there should be room; what `record` throws.
   */
  async pass<T>(tenant: string, record: () => Promise<T>): Promise<T> {
    this.#check(tenant);
    this.#recording++;
    try {
      return await record();
    } finally {
      this.#recording--;
    }
  }

  #check(tenant: string): void {
    if (this.#waiting.size >= MAX_WAITING) {
      throw overloaded(`${this.#waiting.size} microVMs wait for a host to have room`, RETRY_MS.most);
    }
    const load = this.#underWay.size + this.#recording;
    const most = Math.max(AT_LEAST, this.#paceNow() * TARGET_MS);
    if (load < most && this.#recording < MAX_RECORDING) return;
    const active = Math.max(1, this.#byTenant.size + (this.#byTenant.has(tenant) ? 0 : 1));
    const isModest = (this.#byTenant.get(tenant) ?? 0) < most / active / 2;
    if (active > 1 && isModest && load < most * HARD && this.#recording < MAX_RECORDING * HARD) return;
    const retryMs = Math.min(RETRY_MS.most, Math.max(RETRY_MS.least, load / Math.max(this.#paceNow(), 0.01)));
    throw overloaded(`${load} microVMs are on their way already`, retryMs);
  }

  #follow(life: MicrovmLife): void {
    const state = microvmState(life);
    const { spec, reason } = microvmContext(life);
    const waits = state === 'placing' && reason !== null;
    if (waits) this.#waiting.add(life.id);
    else this.#waiting.delete(life.id);
    const onItsWay = (state === 'placing' && !waits) || state === 'starting';
    if (onItsWay === this.#underWay.has(life.id)) return;
    if (onItsWay) {
      this.#underWay.set(life.id, spec.tenant);
      this.#byTenant.set(spec.tenant, (this.#byTenant.get(spec.tenant) ?? 0) + 1);
      return;
    }
    this.#underWay.delete(life.id);
    const left = (this.#byTenant.get(spec.tenant) ?? 1) - 1;
    if (left > 0) this.#byTenant.set(spec.tenant, left);
    else this.#byTenant.delete(spec.tenant);
    if (state === 'running') this.#pace = this.#paceNow() + 1 / PACE_MS;
  }

  /** Decays by itself, so that a fleet that has come to a halt shows it. */
  #paceNow(): number {
    const now = performance.now();
    this.#pace *= Math.exp(-(now - this.#pacedAtMs) / PACE_MS);
    this.#pacedAtMs = now;
    return this.#pace;
  }
}

function overloaded(why: string, retryMs: number): OperationError {
  const ms = Math.ceil(retryMs);
  return new OperationError('overloaded', `${why}; nothing was done, try again in ${ms} ms`, undefined, ms);
}
