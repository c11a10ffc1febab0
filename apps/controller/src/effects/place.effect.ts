import { Inject, Injectable } from '@nestjs/common';
import { BusClient, SHUTDOWN } from '#bus';
import { Pacer } from '#concurrency';
import { wallClockMs } from '#journal';
import { hostState, microvmContext, type MicrovmEffect, type MicrovmLife } from '#lifecycle';
import {
  PLACEMENT_WITHDRAWALS,
  placeMicrovm,
  type Decision,
  type MicrovmEvent,
  type PlacementWithdrawal,
  type ReplyOf,
} from '#protocol';
import { HostHistories } from '../histories/host-histories';
import { MicrovmHistories } from '../histories/microvm-histories';
import { TemplateRecords } from '../templates/template-records';
import { CoresidencyRules } from '../tenants/coresidency-rules';
import { noPlaceReason } from './no-place-reason';
import { PlacementAnswers } from './placement-answers';

type PlaceEffectOf = Extract<MicrovmEffect, { type: 'place' }>;

/** Requests in flight: more make every one of them slower and none of them sooner. What waits for capacity is none of them. */
const PLACED_AT_ONCE = 32;
/** How often one that waits asks again whether it still does, ms: an answer, or the placement service, may have been lost. */
const ASK_AGAIN_MS = 2_000;
/** Made once: without a reason each abort makes an error, with a stack. */
const LEFT = 'the state that asked for a place was left';

/** Fires when the state that was entered then, and asks for a place, is left. */
interface Leaving {
  enteredAt: number;
  left: AbortController;
}

/** Asks the placement service for a host, waits for one where none can take it now, and records the answer. */
@Injectable()
export class PlaceEffect {
  readonly #pacer = new Pacer(PLACED_AT_ONCE);
  /** By microVM: who is waiting for a place. */
  readonly #leaving = new Map<string, Leaving>();

  constructor(
    private readonly bus: BusClient,
    private readonly histories: MicrovmHistories,
    private readonly hosts: HostHistories,
    private readonly rules: CoresidencyRules,
    private readonly answers: PlacementAnswers,
    private readonly templates: TemplateRecords,
    @Inject(SHUTDOWN) shutdown: AbortSignal,
  ) {
    histories.listen({
      changed: ({ id, enteredAt }) => {
        const leaving = this.#leaving.get(id);
        if (leaving && leaving.enteredAt !== enteredAt) leaving.left.abort(LEFT);
      },
      asked: () => undefined,
    });
    // One listener for all: a signal that depends on one that lives as long as the process stays in its list for ever.
    shutdown.addEventListener('abort', () => {
      for (const { left } of this.#leaving.values()) left.abort();
    });
  }

  /** `wanted`: whether the state that asks for it was not left and is ours to see to. */
  async perform(life: MicrovmLife, effect: PlaceEffectOf, wanted: () => boolean): Promise<void> {
    if (effect.kept && this.#isReady(effect.kept.hostId)) return this.#goTo(life, effect.epoch, effect.kept);
    // Names this round of this attempt: asked again after a crash, placement gives the same receipt.
    const decisionId = `${life.id}.${effect.epoch}.${effect.attempt}.${Math.round(life.enteredAt * 1000)}`;
    const answer = this.answers.expect(decisionId);
    const leaving: Leaving = { enteredAt: life.enteredAt, left: new AbortController() };
    this.#leaving.set(life.id, leaving);
    let decision: Decision | undefined;
    try {
      for (let waited = false; wanted(); waited = true) {
        const { receipt, waiting } = await this.#pacer.run(() => this.#ask(life, effect, decisionId));
        if (waiting && !waited) await this.#recordWait(life, decisionId, receipt);
        decision = waiting ? await answer.within(ASK_AGAIN_MS, leaving.left.signal) : receipt;
        if (decision) return await this.#record(life, effect, decision, waiting || waited);
      }
    } finally {
      if (this.#leaving.get(life.id) === leaving) this.#leaving.delete(life.id);
      this.answers.forget(decisionId);
      if (decision?.hostId !== null && this.#isUnwanted(life, effect)) this.#withdraw(life.id, decisionId);
    }
  }

  /** Stopped, deleted or expired before it was given a place; not where another replica sees to it now. */
  #isUnwanted({ id, enteredAt }: MicrovmLife, { epoch }: PlaceEffectOf): boolean {
    const now = this.histories.index.get(id);
    return now === undefined || (now.enteredAt !== enteredAt && microvmContext(now).epoch < epoch);
  }

  /** So that it does not keep its turn in the line, nor what it gets there its room on a host. */
  #withdraw(microvmId: string, decisionId: string): void {
    const withdrawal: PlacementWithdrawal = { decisionId, microvmId };
    if (!this.bus.connection.isClosed()) this.bus.publish(PLACEMENT_WITHDRAWALS, withdrawal);
  }

  #ask(life: MicrovmLife, effect: PlaceEffectOf, decisionId: string): Promise<ReplyOf<typeof placeMicrovm>> {
    const { epoch, spec, excluded, waitUntil } = effect;
    return this.bus.call(placeMicrovm, {
      ...{ microvmId: life.id, epoch, decisionId, spec },
      excluded: [...excluded],
      ...this.templates.placesOf(spec),
      coresidency: this.rules.of(spec.tenant),
      answerTo: this.answers.subject,
      // While hosts are left out it does not wait for others: they may be the ones that have room next.
      ...(excluded.length > 0 ? {} : { waitUntil }),
    });
  }

  async #record(life: MicrovmLife, effect: PlaceEffectOf, receipt: Decision, waited: boolean): Promise<void> {
    const { hostId, id: receiptId, at: decidedAt } = receipt;
    const event: MicrovmEvent = hostId
      ? { type: 'placed', hostId, epoch: effect.epoch, receiptId, decidedAt }
      : failure(life, effect, receipt, waited);
    // Refused when it was stopped or deleted meanwhile.
    await this.#append(life, `place.${receiptId}`, event);
  }

  #recordWait(life: MicrovmLife, decisionId: string, { id, reason }: Decision): Promise<void> {
    const receipt = id === '' ? {} : { receiptId: id };
    return this.#append(life, `wait.${decisionId}`, { type: 'placementWaits', reason, ...receipt });
  }

  /** The place was chosen before it was ended where it was. */
  #goTo(life: MicrovmLife, epoch: number, kept: NonNullable<PlaceEffectOf['kept']>): Promise<void> {
    const { hostId, receiptId, at: decidedAt } = kept;
    return this.#append(life, `place.${receiptId}`, { type: 'placed', hostId, epoch, receiptId, decidedAt });
  }

  async #append(life: MicrovmLife, commandId: string, event: MicrovmEvent): Promise<void> {
    await this.histories.record(life.id, { commandId, cause: { kind: 'placement', by: 'placement' } }, [event]);
  }

  #isReady(hostId: string): boolean {
    const host = this.hosts.get(hostId);
    return host !== undefined && hostState(host) === 'ready';
  }
}

function failure(life: MicrovmLife, { waitUntil }: PlaceEffectOf, decision: Decision, waited: boolean): MicrovmEvent {
  const context = microvmContext(life);
  const reason = noPlaceReason(decision.reason, context);
  const seconds = Math.round((waitUntil - context.timings.acceptedAt) / 1_000);
  return {
    type: 'placementFailed',
    reason: waited ? `no host could take it within ${seconds} s: ${reason}` : reason,
    receiptId: decision.id,
    // A host that refused may have room by the next try, as long as there is time for one.
    final: context.excluded.length === 0 || wallClockMs() >= waitUntil,
  };
}
