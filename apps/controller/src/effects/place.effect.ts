import { Injectable } from '@nestjs/common';
import { BusClient } from '#bus';
import { microvmContext, type MicrovmEffect, type MicrovmLife } from '#lifecycle';
import { placeMicrovm, type MicrovmEvent } from '#protocol';
import { noPlaceReason } from './no-place-reason';
import { MicrovmHistories } from '../histories/microvm-histories';

/** Asks the placement service for a host and records the answer. */
@Injectable()
export class PlaceEffect {
  constructor(
    private readonly bus: BusClient,
    private readonly histories: MicrovmHistories,
  ) {}

  async perform(life: MicrovmLife, effect: Extract<MicrovmEffect, { type: 'place' }>): Promise<void> {
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
}
