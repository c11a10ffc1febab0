import { Injectable } from '@nestjs/common';
import { BusClient } from '#bus';
import { wallClockMs } from '#journal';
import { microvmContext, type MicrovmLife } from '#lifecycle';
import { dryRunPlacement, placeMicrovm, type MicrovmSpec } from '#protocol';
import { TemplateRecords } from '../templates/template-records';
import { CoresidencyRules } from '../tenants/coresidency-rules';

/** Where a microVM could go now: a host, or the reason why there is none. */
export type PlaceElsewhere = { hostId: string; reason?: undefined } | { hostId: null; reason: string };

/** How many microVMs one dry run is about; more may not fit into a message. */
export const DRY_RUN_MOST = 250;

/** Asks the placement service for places away from one host. */
@Injectable()
export class PlacesElsewhere {
  constructor(
    private readonly bus: BusClient,
    private readonly rules: CoresidencyRules,
    private readonly templates: TemplateRecords,
  ) {}

  /**
   * Where these would go now, one after the other, at most {@link DRY_RUN_MOST}. Keeps nothing.
   *
   * @throws OperationError what the placement service answers, `unavailable` or `timeout` when it does not.
   */
  async lookFor(lives: readonly MicrovmLife[], awayFrom: string): Promise<PlaceElsewhere[]> {
    if (lives.length === 0) return [];
    const placements = lives.map((life) => {
      const { spec } = microvmContext(life);
      return {
        spec: withoutContent(spec),
        coresidency: this.rules.of(spec.tenant),
        ...this.templates.placesOf(spec),
      };
    });
    const { receipts } = await this.bus.call(dryRunPlacement, { placements, excluded: [awayFrom], hosts: 'compared' });
    return receipts.map(({ hostId, reason }) => (hostId === null ? { hostId, reason } : { hostId }));
  }

  /**
   * Chooses a place and keeps it for its next incarnation, for so many ms; the receipt is stored.
   *
   * @throws OperationError as {@link lookFor}.
   */
  async keep(
    life: MicrovmLife,
    awayFrom: string,
    forMs: number,
  ): Promise<{ hostId: string | null; receiptId: string }> {
    const { spec, epoch } = microvmContext(life);
    const { receipt } = await this.bus.call(placeMicrovm, {
      microvmId: life.id,
      epoch: epoch + 1,
      // Each try is a decision of its own: an answer of before may not hold any more.
      decisionId: `${life.id}.${epoch + 1}.move.${Math.round(wallClockMs() * 1000)}`,
      spec,
      excluded: [awayFrom],
      coresidency: this.rules.of(spec.tenant),
      ...this.templates.placesOf(spec),
      keepMs: forMs,
    });
    return { hostId: receipt.hostId, receiptId: receipt.id };
  }
}

/** What of a spec a choice depends on: the rest can be large. */
function withoutContent({ metadata: _, env: __, command: ___, entrypoint: ____, ...spec }: MicrovmSpec): MicrovmSpec {
  return { ...spec, cmdline: '' };
}
