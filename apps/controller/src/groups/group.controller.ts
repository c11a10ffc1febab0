import { Controller } from '@nestjs/common';
import type { z } from 'zod';
import { Handles } from '#bus';
import { GROUP_LIMITS, groupHistoryEntry, summariseGroup, viewGroup, type GroupLife } from '#lifecycle';
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
  type MicrovmSpec,
  type Operation,
} from '#protocol';
import { microvmContext } from '#lifecycle';
import { MicrovmHistories } from '../histories/microvm-histories';
import { askedBy } from '../operator/asked-by';
import { ImageCatalogue } from '../operator/image-catalogue';
import { pinImage } from '../operator/pin-image';
import { specHash } from '../operator/spec-hash';
import { GroupHistories } from './group-histories';

type RequestTo<O extends Operation> = z.output<O['request']>;
type Asked = { commandId?: string | undefined; by?: string | undefined };
type Rollout = { maxSurge?: number | undefined; maxUnavailable?: number | undefined };

/** Records in one answer. */
const HISTORY_MOST = 500;
/** Protected members that a refusal names. */
const NAMED_MOST = 5;

/** What operators ask about groups, as messages. */
@Controller()
export class GroupController {
  constructor(
    private readonly groups: GroupHistories,
    private readonly microvms: MicrovmHistories,
    private readonly images: ImageCatalogue,
  ) {}

  @Handles(createGroup)
  async create({ name, replicas, spec, maxSurge, maxUnavailable, ...asked }: RequestTo<typeof createGroup>) {
    const { tenant } = spec;
    const version = await this.#version(spec, { maxSurge, maxUnavailable });
    let existed = false;
    const group = await this.#change(groupIdOf(tenant, name), asked, (life) => {
      existed = life !== null && life.state !== 'deleted';
      if (!existed) return [{ type: 'created', tenant, name, replicas, ...version }];
      if (isSame(life!, replicas, version)) return [];
      throw new OperationError(
        'conflict',
        `group ${life!.id} exists with another content; scale or replace it instead`,
      );
    });
    return { group, created: !existed };
  }

  @Handles(scaleGroup)
  async scale({ id, replicas, ...asked }: RequestTo<typeof scaleGroup>) {
    const group = await this.#change(id, asked, (life) =>
      must(id, life).replicas === replicas ? [] : [{ type: 'scaled', replicas }],
    );
    return { group };
  }

  @Handles(replaceGroupSpec)
  async replace({ id, spec, maxSurge, maxUnavailable, ...asked }: RequestTo<typeof replaceGroupSpec>) {
    const { tenant } = must(id, this.groups.get(id) ?? null);
    const path = [{ path: 'spec.tenant', message: `must be ${tenant}: a group does not change hands` }];
    if (spec.tenant !== tenant) throw new OperationError('invalid', path[0]!.message, path);
    const known = this.groups.get(id)!;
    const version = await this.#version(spec, {
      maxSurge: maxSurge ?? known.maxSurge,
      maxUnavailable: maxUnavailable ?? known.maxUnavailable,
    });
    const group = await this.#change(id, asked, (life) =>
      isSame(must(id, life), life!.replicas, version) && life!.halted === null
        ? []
        : [{ type: 'specReplaced', ...version }],
    );
    return { group };
  }

  @Handles(deleteGroup)
  async delete({ id, ...asked }: RequestTo<typeof deleteGroup>) {
    const group = await this.#change(id, asked, (life) => {
      if (must(id, life).state === 'deleting') return [];
      const kept = this.#protectedMembers(life!);
      if (kept.length === 0) return [{ type: 'deleteRequested' }];
      const more = kept.length > NAMED_MOST ? ` and ${kept.length - NAMED_MOST} more` : '';
      const names = `${kept.slice(0, NAMED_MOST).join(', ')}${more}`;
      throw new OperationError(
        'conflict',
        `group ${id} has members that are protected from deletion: ${names}; lift that first (volley protect ID off)`,
      );
    });
    return { group };
  }

  @Handles(getGroup)
  get({ id }: RequestTo<typeof getGroup>) {
    const life = this.groups.get(id);
    if (!life) throw unknownGroup(id);
    return { group: viewGroup(life) };
  }

  @Handles(listGroups)
  list({ tenant }: RequestTo<typeof listGroups>) {
    const lives = this.groups
      .all()
      .filter((life) => life.state !== 'deleted' && (tenant === undefined || life.tenant === tenant))
      .sort((a, b) => (a.id < b.id ? -1 : 1));
    return { items: lives.map(summariseGroup) };
  }

  @Handles(groupHistoryOf)
  async history({ id }: RequestTo<typeof groupHistoryOf>) {
    const records = await this.groups.read(id);
    if (records.length === 0) throw unknownGroup(id);
    const entries = records.slice(-HISTORY_MOST).map(({ record, sequence }) => groupHistoryEntry(record, sequence));
    return { id, entries, earlier: records.length > HISTORY_MOST };
  }

  /** The image is pinned here: all members run the same, whenever they are created. */
  async #version(asked: MicrovmSpec, { maxSurge, maxUnavailable }: Rollout) {
    const surge = maxSurge ?? GROUP_LIMITS.maxSurge;
    const unavailable = maxUnavailable ?? GROUP_LIMITS.maxUnavailable;
    if (surge === 0 && unavailable === 0) {
      const message = 'maxSurge and maxUnavailable cannot both be 0: no member could ever be replaced';
      throw new OperationError('invalid', message, [{ path: 'maxSurge', message }]);
    }
    const spec = await pinImage(asked, this.images);
    return { spec, specHash: specHash(spec), maxSurge: surge, maxUnavailable: unavailable };
  }

  #protectedMembers({ members }: GroupLife): string[] {
    return [...members.keys()].filter((id) => {
      const life = this.microvms.index.get(id);
      return life !== undefined && microvmContext(life).protected === true;
    });
  }

  async #change(id: string, asked: Asked, events: (life: GroupLife | null) => GroupEvent[]): Promise<Group> {
    const { decision, life } = await this.groups.decide(id, askedBy(asked), events);
    if (decision.kind === 'refused') {
      throw new OperationError('conflict', `group ${id} is ${decision.state ?? 'not there'}: it cannot be changed now`);
    }
    return viewGroup(life!);
  }
}

function isSame(
  { replicas, maxSurge, maxUnavailable, wanted }: GroupLife,
  asked: number,
  version: { specHash: string; maxSurge: number; maxUnavailable: number },
): boolean {
  return (
    replicas === asked &&
    wanted.specHash === version.specHash &&
    maxSurge === version.maxSurge &&
    maxUnavailable === version.maxUnavailable
  );
}

function must(id: string, life: GroupLife | null): GroupLife {
  if (!life || life.state === 'deleted') throw unknownGroup(id);
  return life;
}

function unknownGroup(id: string): OperationError {
  return new OperationError('notFound', `there is no group ${id}`);
}
