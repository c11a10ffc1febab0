import { Injectable } from '@nestjs/common';
import { BusClient } from '#bus';
import { microvmState, type MicrovmEffect, type MicrovmLife } from '#lifecycle';
import { hostCommand, type MicrovmEvent, type RequestOf } from '#protocol';
import { MicrovmHistories } from '../histories/microvm-histories';
import { CoresidencyRules } from '../tenants/coresidency-rules';

type HostEffectOf = Exclude<MicrovmEffect, { type: 'place' }>;
type HostCommandRequest = RequestOf<typeof hostCommand>;

/** Sends a command to a host. Its outcome comes back as a fact; only a refusal is recorded here. */
@Injectable()
export class HostCommandEffect {
  constructor(
    private readonly bus: BusClient,
    private readonly histories: MicrovmHistories,
    private readonly rules: CoresidencyRules,
  ) {}

  async perform(life: MicrovmLife, effect: HostEffectOf): Promise<void> {
    const request = toRequest(life, effect, this.rules);
    const reply = await this.bus.call(hostCommand, request, { values: { hostId: effect.hostId } });
    if (reply.accepted) return;
    const event = refusal(effect, reply.reason ?? 'the host gave no reason');
    if (event) {
      const who = { commandId: `refused.${request.commandId}`, cause: { kind: 'host' as const, by: effect.hostId } };
      await this.histories.record(life.id, who, [event]);
    } else if (effect.type !== 'verifyOnHost') {
      await this.perform(life, { type: 'verifyOnHost', hostId: effect.hostId, epoch: effect.epoch });
    }
  }
}

function toRequest(life: MicrovmLife, effect: HostEffectOf, rules: CoresidencyRules): HostCommandRequest {
  const commandId = `${life.id}.${effect.epoch}.${effect.type}.${microvmState(life)}.${Math.round(life.enteredAt * 1000)}`;
  const incarnation = { commandId, microvmId: life.id, epoch: effect.epoch };
  switch (effect.type) {
    case 'startOnHost':
      return {
        type: 'start',
        ...incarnation,
        spec: effect.spec,
        coresidency: rules.of(effect.spec.tenant),
        ...(effect.expiresAt === undefined ? {} : { expiresAt: effect.expiresAt }),
      };
    case 'restoreOnHost':
      return {
        type: 'start',
        ...incarnation,
        spec: effect.spec,
        coresidency: rules.of(effect.spec.tenant),
        restore: true,
        ...(effect.expiresAt === undefined ? {} : { expiresAt: effect.expiresAt }),
      };
    case 'snapshotOnHost':
      return { type: 'snapshot', ...incarnation, templateId: effect.templateId };
    case 'suspendOnHost':
      return { type: 'suspend', ...incarnation };
    case 'pauseOnHost':
      return { type: 'pause', ...incarnation };
    case 'resumeOnHost':
      return { type: 'resume', ...incarnation };
    case 'stopOnHost':
      return { type: 'stop', ...incarnation, timeoutMs: effect.timeoutMs };
    case 'eraseOnHost':
      return { type: 'erase', ...incarnation };
    case 'expireOnHost':
      // Asked as often as the protection is set, in whatever state.
      return {
        type: 'expire',
        ...incarnation,
        commandId: `${commandId}.${life.revision}`,
        expiresAt: effect.expiresAt,
      };
    case 'verifyOnHost':
      return { type: 'verify', ...incarnation };
  }
}

/** What a refusal means for the microVM; undefined: nothing by itself, ask the host what is true. */
function refusal(effect: HostEffectOf, reason: string): MicrovmEvent | undefined {
  const { hostId, epoch } = effect;
  switch (effect.type) {
    case 'startOnHost':
    case 'restoreOnHost':
      return { type: 'refused', hostId, epoch, reason };
    case 'pauseOnHost':
      return { type: 'commandFailed', hostId, epoch, command: 'pause', reason };
    case 'resumeOnHost':
      return { type: 'commandFailed', hostId, epoch, command: 'resume', reason };
    case 'snapshotOnHost':
      return { type: 'commandFailed', hostId, epoch, command: 'snapshot', reason };
    case 'suspendOnHost':
      return { type: 'commandFailed', hostId, epoch, command: 'suspend', reason };
    default:
      return undefined;
  }
}
