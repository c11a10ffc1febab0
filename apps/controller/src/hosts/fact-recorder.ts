import { Injectable } from '@nestjs/common';
import { microvmContext } from '#lifecycle';
import type { MicrovmEvent, ReplyOf, RequestOf, reportFact } from '#protocol';
import { SecurityAudit } from '../audit/security-audit';
import { EffectRunner } from '../effects/effect-runner';
import { MicrovmHistories } from '../histories/microvm-histories';
import { erase, mayNotLive } from './unwanted-incarnation';

/** Facts that mean: something of this incarnation is alive on the host. */
const ALIVE: readonly MicrovmEvent['type'][] = [
  'started',
  'observed',
  'pausedOnHost',
  'resumedOnHost',
  'snapshotTaken',
];

/** Records what hosts report. */
@Injectable()
export class FactRecorder {
  constructor(
    private readonly microvms: MicrovmHistories,
    private readonly effects: EffectRunner,
    private readonly audit: SecurityAudit,
  ) {}

  async report({ factId, microvmId, fact }: RequestOf<typeof reportFact>): Promise<ReplyOf<typeof reportFact>> {
    const { hostId, epoch } = fact as { hostId: string; epoch: number };
    const { decision, life } = await this.microvms.record(
      microvmId,
      { commandId: factId, cause: { kind: 'host', by: hostId } },
      [fact as MicrovmEvent],
    );
    if (decision.kind === 'record') return { recorded: true };
    const current = life ? microvmContext(life).epoch : 0;
    if (epoch < current) this.audit.staleEpoch({ hostId, epoch, type: fact.type }, microvmId, current);
    // An incarnation that the history has left behind or ended lives on: fence it.
    if (life && ALIVE.includes(fact.type) && mayNotLive(life, hostId, epoch))
      this.effects.perform(life, [erase(hostId, epoch)]);
    return { recorded: false };
  }
}
