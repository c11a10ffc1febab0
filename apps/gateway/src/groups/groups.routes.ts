import { Group, GroupCreate, GroupId, GroupReplace, groupHistoryOf, GroupScale, listGroups, TenantId } from '#protocol';
import { z } from 'zod';
import { AWAY, CONFLICT, INVALID, MALFORMED, NOT_DONE, NOT_FOUND, REFUSALS } from '../http/common-responses';
import { InstantText } from '../http/query-types';
import { route } from '../http/route';
import { EmptyBody, IdempotencyHeaders } from '../microvms/microvms.schemas';

const shared = { tag: 'groups', access: 'use' } as const;
const GroupParams = z.strictObject({ id: GroupId.describe('Id of the group: TENANT_NAME.') });
const one = { ...shared, params: GroupParams } as const;

const ANSWERS = {
  200: { description: 'On record; it is done next.', schema: Group },
  ...NOT_DONE,
};

export const createGroupRoute = route({
  ...shared,
  name: 'createGroup',
  method: 'POST',
  path: '/v1/groups',
  summary: 'Keep so many microVMs of one spec running',
  description: 'Sent again with the same content, it is done once.',
  headers: IdempotencyHeaders,
  body: GroupCreate,
  responses: {
    200: { description: 'It is there already, with this content.', schema: Group },
    201: {
      description: 'On record; its members are created next.',
      schema: Group,
      headers: { Location: 'Where it is.' },
    },
    ...MALFORMED,
    ...REFUSALS,
    ...CONFLICT,
    ...INVALID,
    ...AWAY,
  },
});

export const listGroupsRoute = route({
  ...shared,
  access: 'view',
  name: 'listGroups',
  method: 'GET',
  path: '/v1/groups',
  summary: 'List groups that are not deleted, by id',
  query: z.strictObject({ tenant: TenantId.optional().describe('Of this tenant only.') }),
  responses: { 200: { description: 'All of them.', schema: listGroups.reply }, ...REFUSALS, ...INVALID, ...AWAY },
});

export const getGroupRoute = route({
  ...one,
  access: 'view',
  name: 'getGroup',
  method: 'GET',
  path: '/v1/groups/{id}',
  summary: 'Read one group with its members, as it is or as it was',
  query: z.strictObject({
    at: InstantText.optional().describe('The group as it was at this instant; absent: as it is now.'),
  }),
  responses: { 200: { description: 'The group.', schema: Group }, ...REFUSALS, ...NOT_FOUND, ...INVALID, ...AWAY },
});

export const scaleGroupRoute = route({
  ...one,
  name: 'scaleGroup',
  method: 'POST',
  path: '/v1/groups/{id}/scale',
  summary: 'Change how many members it keeps',
  headers: IdempotencyHeaders,
  body: GroupScale,
  responses: ANSWERS,
});

export const replaceGroupRoute = route({
  ...one,
  name: 'replaceGroupSpec',
  method: 'PUT',
  path: '/v1/groups/{id}/spec',
  summary: 'Replace its spec, and its members one after another',
  description:
    'At most `maxSurge` members more than wanted exist at a time, and at most `maxUnavailable` fewer are available. It waits for each new one, and ' +
    'stops when three of them failed. The old spec sent again rolls it back; the same spec tries it again.',
  headers: IdempotencyHeaders,
  body: GroupReplace,
  responses: ANSWERS,
});

export const deleteGroupRoute = route({
  ...one,
  name: 'deleteGroup',
  method: 'DELETE',
  path: '/v1/groups/{id}',
  summary: 'Delete it and its members; its history stays',
  headers: IdempotencyHeaders,
  body: EmptyBody,
  responses: ANSWERS,
});

export const groupHistoryRoute = route({
  ...one,
  access: 'view',
  name: 'getGroupHistory',
  method: 'GET',
  path: '/v1/groups/{id}/history',
  summary: 'What was decided about it and its members, oldest first',
  responses: {
    200: { description: 'The latest 500 records. `earlier`: there are more before.', schema: groupHistoryOf.reply },
    ...REFUSALS,
    ...NOT_FOUND,
    ...INVALID,
    ...AWAY,
  },
});
