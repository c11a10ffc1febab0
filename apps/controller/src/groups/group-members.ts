import { Injectable } from '@nestjs/common';
import {
  decideCommand,
  decideEvents,
  microvmContext,
  microvmState,
  type GroupLife,
  type GroupMember,
  type MicrovmLife,
  type Sighting,
} from '#lifecycle';
import { wallClockMs } from '#journal';
import type { Cause, MicrovmEvent } from '#protocol';
import { MicrovmHistories } from '../histories/microvm-histories';
import { CreateMicrovm } from '../operator/create-microvm';
import { specHash } from '../operator/spec-hash';
import { memberSpec } from './member-spec';

const RESTING: readonly string[] = ['stopped', 'failed'];

/** The microVMs of groups: what they do, and the two things a group does with them. Both may be done any number of times. */
@Injectable()
export class GroupMembers {
  /** Members that have no history yet, so that it is not looked for each time a large group is planned. */
  readonly #unborn = new Set<string>();

  constructor(
    private readonly microvms: MicrovmHistories,
    private readonly creation: CreateMicrovm,
  ) {
    microvms.listen({ changed: ({ id }) => void this.#unborn.delete(id), asked: () => {} });
  }

  async sighted(microvmId: string): Promise<Sighting> {
    const life = this.microvms.index.get(microvmId) ?? (await this.#onRecord(microvmId));
    if (!life) return { state: 'unborn', reason: null, isProtected: false, ranMs: null };
    const { reason, protected: isProtected = false } = microvmContext(life);
    return { state: microvmState(life), reason, isProtected, ranMs: ranMsOf(life) };
  }

  /** Long deleted ones are in their histories only. */
  async #onRecord(microvmId: string): Promise<MicrovmLife | null> {
    if (this.#unborn.has(microvmId)) return null;
    const life = await this.microvms.find(microvmId);
    // Born while its history was read, it is in the index.
    if (!life && !this.microvms.index.get(microvmId)) this.#unborn.add(microvmId);
    return life;
  }

  /** @throws OperationError as a create does: quotas, images that are gone. */
  async create(group: GroupLife, member: GroupMember): Promise<void> {
    const spec = memberSpec(group, member);
    if (spec) await this.creation.execute({ spec, id: member.microvmId, by: `group ${group.id}` });
  }

  /**
   * Ends a member for good. One that was never created is born first: somebody may be about to create it, and an id that has a
   * history is not created again.
   */
  async remove(group: GroupLife, member: GroupMember): Promise<void> {
    const { microvmId, reason } = member;
    const cause: Cause = { kind: 'controller', by: `group ${group.id}` };
    if (!(await this.microvms.find(microvmId))) {
      const spec = memberSpec(group, member) ?? group.wanted.spec;
      const birth: MicrovmEvent = { type: 'requested', spec, requestedAt: wallClockMs(), specHash: specHash(spec) };
      await this.microvms.decide(microvmId, { commandId: `create.${microvmId}`, cause }, (life, occasion) =>
        life ? { kind: 'nothing' } : decideEvents(null, [birth], occasion),
      );
    }
    await this.microvms.decide(microvmId, { commandId: `group.${microvmId}.delete`, cause }, (life, occasion) => {
      if (!life || microvmContext(life).protected) return { kind: 'nothing' };
      const deletion = decideCommand(life, { type: 'delete' }, occasion);
      return deletion.kind === 'record'
        ? decideEvents(life, [{ type: 'deleteRequested', reason: reason ?? `given up by group ${group.id}` }], occasion)
        : deletion;
    });
  }
}

/** How long its latest run lasted; null while it runs, or when it never did. */
function ranMsOf(life: MicrovmLife): number | null {
  const { runningAt } = microvmContext(life).timings;
  return runningAt === undefined || !RESTING.includes(microvmState(life)) ? null : life.enteredAt - runningAt;
}
