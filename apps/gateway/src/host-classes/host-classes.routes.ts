import { HostClass, HostClassName, HostClassSettings, HostId, HostStateName } from '#protocol';
import { z } from 'zod';
import { AWAY, CONFLICT, INVALID, MALFORMED, NOT_FOUND, REFUSALS } from '../http/common-responses';
import { route } from '../http/route';

const shared = { tag: 'hosts' } as const;
const Params = z.strictObject({ name: HostClassName.describe('Name of the class.') });

/** A class with the hosts that belong to it. */
export const HostClassView = z.strictObject({
  ...HostClass.shape,
  hosts: z.array(
    z.strictObject({
      id: HostId,
      state: HostStateName,
      by: z.enum(['operator', 'agent']).describe('Who says that it belongs to the class.'),
      goesByIt: z.boolean().describe('Whether it has said that it goes by the class as it is now.'),
    }),
  ),
});
export type HostClassView = z.infer<typeof HostClassView>;

export const listHostClassesRoute = route({
  ...shared,
  access: 'fleet',
  name: 'listHostClasses',
  method: 'GET',
  path: '/v1/host-classes',
  summary: 'List the host classes on record, each with its hosts',
  responses: {
    200: { description: 'All of them, by name.', schema: z.strictObject({ items: z.array(HostClassView) }) },
    ...REFUSALS,
    ...INVALID,
  },
});

export const getHostClassRoute = route({
  ...shared,
  access: 'fleet',
  name: 'getHostClass',
  method: 'GET',
  path: '/v1/host-classes/{name}',
  summary: 'Read one host class: its policy, what it guarantees, its guards and its hosts',
  params: Params,
  responses: { 200: { description: 'The class.', schema: HostClassView }, ...REFUSALS, ...NOT_FOUND, ...INVALID },
});

export const putHostClassRoute = route({
  ...shared,
  access: 'operator',
  name: 'putHostClass',
  method: 'PUT',
  path: '/v1/host-classes/{name}',
  summary: 'Put a host class on record, or set anew what its hosts go by',
  description:
    'Its hosts go by it within a second, those that cannot be reached when they are back; `goesByIt` tells which do. What was admitted stays, ' +
    'also where the new policy would not have admitted it.',
  params: Params,
  body: HostClassSettings,
  responses: {
    200: { description: 'The class as it is now.', schema: HostClassView },
    ...MALFORMED,
    ...REFUSALS,
    ...INVALID,
    ...AWAY,
  },
});

export const deleteHostClassRoute = route({
  ...shared,
  access: 'operator',
  name: 'deleteHostClass',
  method: 'DELETE',
  path: '/v1/host-classes/{name}',
  summary: 'Take a host class off the record; no host may have been put into it',
  description: 'Hosts whose agents name it go by their own settings again.',
  params: Params,
  responses: {
    200: { description: 'It is gone.', schema: z.strictObject({ removed: z.literal(true) }) },
    ...REFUSALS,
    ...NOT_FOUND,
    ...CONFLICT,
    ...INVALID,
    ...AWAY,
  },
});
