import { Injectable } from '@nestjs/common';
import { BusClient } from '#bus';
import { hostState, microvmContext, type MicrovmEffect, type MicrovmLife } from '#lifecycle';
import { placeMicrovm, type MicrovmEvent } from '#protocol';
import { HostHistories } from '../histories/host-histories';
import { MicrovmHistories } from '../histories/microvm-histories';
import { noPlaceReason } from './no-place-reason';

type PlaceEffectOf = Extract<MicrovmEffect, { type: 'place' }>;

/** Asks the placement service for a host and records the answer. */
@Injectable()
export class PlaceEffect {
  constructor(
    private readonly bus: BusClient,
    private readonly histories: MicrovmHistories,
    private readonly hosts: HostHistories,
  ) {}

  async perform(life: MicrovmLife, effect: PlaceEffectOf): Promise<void> {
    if (effect.kept && this.#isReady(effect.kept.hostId)) return this.#goTo(life, effect.epoch, effect.kept);
    // Names this round of this attempt: asked again after a crash, placement gives the same receipt.
    const decisionId = `${life.id}.${effect.epoch}.${effect.attempt}.${Math.round(life.enteredAt * 1000)}`;
    const { receipt } = await this.bus.call(placeMicrovm, {
      microvmId: life.id,
      epoch: effect.epoch,
      decisionId,
      spec: effect.spec,
      excluded: [...effect.excluded],
    });
    const event: MicrovmEvent = receipt.hostId
      ? { type: 'placed', hostId: receipt.hostId, epoch: effect.epoch, receiptId: receipt.id, decidedAt: receipt.at }
      : {
          type: 'placementFailed',
          reason: noPlaceReason(receipt.reason, microvmContext(life)),
          receiptId: receipt.id,
          final: false,
        };
    // Refused when it was stopped or deleted meanwhile: then nobody needs the place any more.
    await this.histories.record(
      life.id,
      { commandId: `place.${receipt.id}`, cause: { kind: 'placement', by: 'placement' } },
      [event],
    );
  }

  /** The place was chosen before it was ended where it was. */
  async #goTo(life: MicrovmLife, epoch: number, kept: NonNullable<PlaceEffectOf['kept']>): Promise<void> {
    const { hostId, receiptId, at: decidedAt } = kept;
    const who = { commandId: `place.${receiptId}`, cause: { kind: 'placement', by: 'placement' } as const };
    await this.histories.record(life.id, who, [{ type: 'placed', hostId, epoch, receiptId, decidedAt }]);
  }

  #isReady(hostId: string): boolean {
    const host = this.hosts.get(hostId);
    return host !== undefined && hostState(host) === 'ready';
  }
}
