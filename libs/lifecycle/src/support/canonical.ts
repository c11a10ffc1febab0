import type { GroupLife } from '../group/group.life';
import type { Life } from './life';

/** JSON with sorted keys and without what is undefined: one text for equal values, however they came about. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map((item) => canonicalJson(item ?? null)).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const fields = Object.entries(value)
    .filter(([, field]) => field !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, field]) => `${JSON.stringify(key)}:${canonicalJson(field)}`);
  return `{${fields.join(',')}}`;
}

/** All that folding a history has given: two processes that hold equal lives would also act alike from here on. */
export function canonicalLife(life: Life<unknown> & { readonly id: string; readonly revision: number }): string {
  const { id, revision, state, context, timers, outstanding, createdAt, updatedAt, enteredAt } = life;
  return canonicalJson({
    id,
    revision,
    state,
    context,
    timers: Object.fromEntries([...timers].map((timer) => [timer.name, timer])),
    outstanding,
    createdAt,
    updatedAt,
    enteredAt,
  });
}

/** The same of a group, which no machine folds: all its fields, and its members in the order in which they were added. */
export function canonicalGroup(life: GroupLife): string {
  return canonicalJson({ ...life, members: [...life.members.values()] });
}
