import { createHash } from 'node:crypto';
import { canonicalLife, type HostLife, type MicrovmLife } from '#lifecycle';
import type { ViewKind } from '#protocol';

export type AnyLife = MicrovmLife | HostLife;

/** What a process holds of the folded histories and acts on. */
export interface LiveView {
  /** Every record up to this sequence of the histories of that kind is folded in. */
  positionOf(kind: ViewKind): number;
  /** Those that live, in order of their ids, from the first one after `cursor`. */
  livesAfter(kind: ViewKind, cursor: string | undefined): Iterable<AnyLife>;
}

/** SHA-256 of all that folding a history has given. */
export function digestOf(life: AnyLife): string {
  return createHash('sha256').update(canonicalLife(life)).digest('hex');
}

/** Hosts in order of their ids, from the first one after `cursor`; there are few. */
export function hostsAfter(hosts: Iterable<HostLife>, cursor: string | undefined): HostLife[] {
  return [...hosts].filter(({ id }) => cursor === undefined || id > cursor).sort((a, b) => (a.id < b.id ? -1 : 1));
}
