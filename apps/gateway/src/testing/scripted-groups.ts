import { decideGroupEvents, summariseGroup, viewGroup, type GroupLife } from '#lifecycle';
import {
  createGroup,
  deleteGroup,
  getGroup,
  groupHistoryOf,
  groupIdOf,
  listGroups,
  OperationError,
  replaceGroupSpec,
  scaleGroup,
  type Group,
  type GroupEvent,
  type GroupHistoryEntry,
  type Operation,
} from '#protocol';
import type { z } from 'zod';

type Answer = <O extends Operation>(
  operation: O,
  handler: (request: z.output<O['request']>) => z.input<O['reply']>,
) => void;

/** Groups for tests of the gateway: what was asked for is on record, and no member is ever made unless a test says so. */
export class ScriptedGroups {
  readonly #lives = new Map<string, GroupLife>();
  readonly #entries = new Map<string, GroupHistoryEntry[]>();

  answer(answer: Answer): void {
    answer(createGroup, ({ name, replicas, spec, maxSurge = 1, maxUnavailable = 0, by = 'operator' }) => {
      const id = groupIdOf(spec.tenant, name);
      if (this.#lives.has(id)) return { group: viewGroup(this.#life(id)), created: false };
      const version = { spec, specHash: JSON.stringify(spec), maxSurge, maxUnavailable };
      return {
        group: this.happens(id, [{ type: 'created', tenant: spec.tenant, name, replicas, ...version }], by),
        created: true,
      };
    });
    answer(scaleGroup, ({ id, replicas, by = 'operator' }) => ({
      group: this.happens(this.#life(id).id, [{ type: 'scaled', replicas }], by),
    }));
    answer(replaceGroupSpec, ({ id, spec, maxSurge = 1, maxUnavailable = 0, by = 'operator' }) => {
      const version = { spec, specHash: JSON.stringify(spec), maxSurge, maxUnavailable };
      return { group: this.happens(this.#life(id).id, [{ type: 'specReplaced', ...version }], by) };
    });
    answer(deleteGroup, ({ id, by = 'operator' }) => ({
      group: this.happens(this.#life(id).id, [{ type: 'deleteRequested' }], by),
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
  happens(id: string, events: GroupEvent[], by: string): Group {
    const before = this.#lives.get(id) ?? null;
    const entries = this.#entries.get(id) ?? [];
    const sequence = entries.length + 1;
    const cause = { kind: 'operator' as const, by };
    const decision = decideGroupEvents(before, events, {
      groupId: id,
      commandId: `g${sequence}`,
      cause,
      at: Date.now(),
    });
    if (decision.kind !== 'record') throw new OperationError('conflict', `group ${id} does not take it`);
    const { commandId, at } = decision.record;
    const told = events.map((event) => ('spec' in event ? { type: event.type, image: event.spec.image } : event));
    this.#entries.set(id, [...entries, { sequence, at: new Date(at).toISOString(), commandId, cause, events: told }]);
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
