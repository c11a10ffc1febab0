import { z } from 'zod';
import { Group, GroupCreate, GroupHistoryEntry, GroupId, GroupReplace, GroupScale, GroupSummary } from './groups';
import { TenantId } from './ids';
import { operation } from './operation';
import { By, CommandId } from './operator-operations';

const asked = { commandId: CommandId.optional(), by: By.optional() };
const command = <S extends z.ZodRawShape>(name: string, summary: string, extra: S) =>
  operation({
    subject: `volley.v1.group.${name}`,
    queue: 'controller',
    repeatable: true,
    request: z.strictObject({ id: GroupId, ...asked, ...extra }),
    reply: z.strictObject({ group: Group }),
    deadlineMs: 5_000,
    summary,
  });

/** Repeated with the same content, it is done once. `conflict`: there is one of this name with another content. */
export const createGroup = operation({
  subject: 'volley.v1.group.create',
  queue: 'controller',
  repeatable: true,
  request: z.strictObject({ ...GroupCreate.shape, ...asked }),
  reply: z.strictObject({ group: Group, created: z.boolean() }),
  deadlineMs: 5_000,
  summary: 'Keeps so many microVMs of one spec running from now on.',
});
export const scaleGroup = command('scale', 'Changes how many members a group keeps.', GroupScale.shape);
/** With the spec it has: tries a rollout that was halted again. With an earlier one: rolls back. */
export const replaceGroupSpec = command(
  'replace',
  'Replaces the spec of a group, and its members one after another.',
  GroupReplace.shape,
);
export const deleteGroup = command('delete', 'Deletes a group and its members; its history stays.', {});

export const getGroup = operation({
  subject: 'volley.v1.group.get',
  queue: 'controller',
  request: z.strictObject({ id: GroupId }),
  reply: z.strictObject({ group: Group }),
  deadlineMs: 2_000,
  summary: 'Reads one group with its members.',
});
export const listGroups = operation({
  subject: 'volley.v1.group.list',
  queue: 'controller',
  request: z.strictObject({ tenant: TenantId.optional() }),
  reply: z.strictObject({ items: z.array(GroupSummary) }),
  deadlineMs: 2_000,
  summary: 'Lists groups that are not deleted, by id.',
});
export const groupHistoryOf = operation({
  subject: 'volley.v1.group.history',
  queue: 'controller',
  request: z.strictObject({ id: GroupId }),
  reply: z.strictObject({ id: z.string(), entries: z.array(GroupHistoryEntry), earlier: z.boolean() }),
  deadlineMs: 5_000,
  summary: 'What was decided about a group and its members, oldest first: the latest 500 records.',
});
