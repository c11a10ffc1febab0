import { Injectable } from '@nestjs/common';
import { BusClient } from '#bus';
import { microvmContext, microvmState, viewMicrovm } from '#lifecycle';
import { hostTune, OperationError, recordOfTuning, type Microvm, type RequestOf, type tuneMicrovm } from '#protocol';
import { MicrovmHistories } from '../histories/microvm-histories';
import { askedBy } from './asked-by';
import { unknownMicrovm } from './unknown-microvm';

/**
 * Changes a running microVM: its host first, then its history, so that the history holds what was done. A change whose
 * record is lost on the way is answered with an error; asking again does it again, which changes nothing more.
 */
@Injectable()
export class TuneMicrovm {
  constructor(
    private readonly bus: BusClient,
    private readonly histories: MicrovmHistories,
  ) {}

  /** @throws OperationError `notFound`, `conflict` when it does not run, or what its host says: `unsupported`, `invalid`, `unavailable`. */
  async execute({ id, tuning, commandId, by }: RequestOf<typeof tuneMicrovm>): Promise<{ microvm: Microvm }> {
    const life = await this.histories.find(id);
    if (!life) throw unknownMicrovm(id);
    const state = microvmState(life);
    const { hostId, epoch } = microvmContext(life);
    if ((state !== 'running' && state !== 'paused') || hostId === null) {
      throw new OperationError('conflict', `microVM ${id} is ${state}: only a running or paused one can be changed`);
    }
    await this.bus.call(hostTune, { microvmId: id, tuning }, { values: { hostId } }).catch((error: unknown) => {
      if (!(error instanceof OperationError) || error.code !== 'notFound') throw error;
      throw new OperationError('conflict', `microVM ${id} has just ended: ${error.message}`);
    });
    const event = { type: 'tuned' as const, hostId, epoch, tuning: recordOfTuning(tuning) };
    const { decision, life: changed } = await this.histories.record(id, askedBy({ commandId, by }), [event]);
    if (decision.kind === 'refused') {
      throw new OperationError('conflict', `microVM ${id} is ${decision.state} by now: the change is gone with it`);
    }
    return { microvm: viewMicrovm(changed!) };
  }
}
