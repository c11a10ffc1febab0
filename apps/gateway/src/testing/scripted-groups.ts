import { createHash } from 'node:crypto';
import type { Journal } from '#journal';
import { decideGroupEvents, groupHistoryEntry, summariseGroup, viewGroup, type GroupLife } from '#lifecycle';
import {
  createGroup,
  deleteGroup,
  getGroup,
  groupHistory,
  groupHistoryOf,
  groupIdOf,
  listGroups,
  OperationError,
  replaceGroupSpec,
  scaleGroup,
  type Group,
  type GroupEvent,
  type GroupHistoryEntry,
  type GroupRecord,
  type Operation,
} from '#protocol';
import type { z } from 'zod';

type Answer = <O extends Operation>(
  operation: O,
  handler: (request: z.output<O['request']>) => z.input<O['reply']> | Promise<z.input<O['reply']>>,
) => void;

/** Groups for tests of the gateway: what was asked for is on record, and no member is ever made unless a test says so. */
export class ScriptedGroups {
  readonly #lives = new Map<string, GroupLife>();
  readonly #entries = new Map<string, GroupHistoryEntry[]>();

  constructor(private readonly journal: Journal<GroupRecord>) {}

  answer(answer: Answer): void {
    answer(createGroup, async ({ name, replicas, spec, maxSurge = 1, maxUnavailable = 0, by = 'operator' }) => {
      const id = groupIdOf(spec.tenant, name);
      if (this.#lives.has(id)) return { group: viewGroup(this.#life(id)), created: false };
      const version = { spec, specHash: hashOf(spec), maxSurge, maxUnavailable };
      return {
        group: await this.happens(id, [{ type: 'created', tenant: spec.tenant, name, replicas, ...version }], by),
        created: true,
      };
    });
    answer(scaleGroup, async ({ id, replicas, by = 'operator' }) => ({
      group: await this.happens(this.#life(id).id, [{ type: 'scaled', replicas }], by),
    }));
    answer(replaceGroupSpec, async ({ id, spec, maxSurge = 1, maxUnavailable = 0, by = 'operator' }) => {
      const version = { spec, specHash: hashOf(spec), maxSurge, maxUnavailable };
      return { group: await this.happens(this.#life(id).id, [{ type: 'specReplaced', ...version }], by) };
    });
    answer(deleteGroup, async ({ id, by = 'operator' }) => ({
      group: await this.happens(this.#life(id).id, [{ type: 'deleteRequested' }], by),
    }));
    answer(getGroup, ({ id }) => ({ group: viewGroup(this.#life(id)) }));
    answer(listGroups, ({ tenant }) => ({
      items: [...this.#lives.values()]
        .filter((life) => tenant === undefined || life.tenant === tenant)
        .map(summariseGroup),
    }));
    answer(groupHistoryOf, ({ id }) => ({ id: this.#life(id).id, entries: this.#entries.get(id)!, earlier: false }));
  }

  /** Makes a record as the controller would. */
  async happens(id: string, events: GroupEvent[], by: string): Promise<Group> {
    const before = this.#lives.get(id) ?? null;
    const entries = this.#entries.get(id) ?? [];
    const decision = decideGroupEvents(before, events, {
      groupId: id,
      commandId: `g${entries.length + 1}`,
      cause: { kind: 'operator', by },
      at: Date.now(),
    });
    if (decision.kind !== 'record') throw new OperationError('conflict', `group ${id} does not take it`);
    const { record } = decision;
    const { sequence } = await this.journal.append(groupHistory(id), record, {
      commandId: `${id}.${record.commandId}`,
      expectedSequence: before?.revision ?? 0,
    });
    this.#entries.set(id, [...entries, groupHistoryEntry(record, sequence)]);
    const life = { ...decision.advance.life, revision: sequence };
    this.#lives.set(id, life);
    return viewGroup(life);
  }

  #life(id: string): GroupLife {
    const life = this.#lives.get(id);
    if (!life) throw new OperationError('notFound', `there is no group ${id}`);
    return life;
  }
}

function hashOf(spec: unknown): string {
  return createHash('sha256').update(JSON.stringify(spec)).digest('hex');
}
