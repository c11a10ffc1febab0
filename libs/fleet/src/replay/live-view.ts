import { createHash } from 'node:crypto';
import { canonicalGroup, canonicalLife, type GroupLife, type HostLife, type MicrovmLife } from '#lifecycle';
import type { ViewKind } from '#protocol';

export type AnyLife = MicrovmLife | HostLife | GroupLife;

/** What a process holds of the folded histories and acts on. */
export interface LiveView {
  /** Every record up to this sequence of the histories of that kind is folded in. */
  positionOf(kind: ViewKind): number;
  /** Those that live, in order of their ids, from the first one after `cursor`. */
  livesAfter(kind: ViewKind, cursor: string | undefined): Iterable<AnyLife>;
}

/** SHA-256 of all that folding a history has given. */
export function digestOf(life: AnyLife): string {
  const text = 'members' in life ? canonicalGroup(life) : canonicalLife(life);
  return createHash('sha256').update(text).digest('hex');
}

/** Hosts or groups in order of their ids, from the first one after `cursor`; there are few. */
export function inOrderAfter<L extends { readonly id: string }>(lives: Iterable<L>, cursor?: string): L[] {
  return [...lives].filter(({ id }) => cursor === undefined || id > cursor).sort((a, b) => (a.id < b.id ? -1 : 1));
}

/** The history of a deleted group may go on under the same name: whoever folds it keeps what it was. */
export function livingGroups(groups: Iterable<GroupLife>): GroupLife[] {
  return [...groups].filter(({ state }) => state !== 'deleted');
}
