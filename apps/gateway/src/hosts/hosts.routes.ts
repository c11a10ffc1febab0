import { DrainOrder, DrainPlan, Host, HostClassName, HostHistoryEntry, HostId, listHosts } from '#protocol';
import { z } from 'zod';
import { AWAY, INVALID, NOT_DONE, NOT_FOUND, REFUSALS } from '../http/common-responses';
import { count, duration } from '../http/query-types';
import { route } from '../http/route';
import { AtQuery, EmptyBody, IdempotencyHeaders } from '../microvms/microvms.schemas';

const shared = { tag: 'hosts', access: 'operator' } as const;
export const HostParams = z.strictObject({ id: HostId.describe('Id of the host.') });

export const listHostsRoute = route({
  ...shared,
  access: 'fleet',
  name: 'listHosts',
  method: 'GET',
  path: '/v1/hosts',
  summary: 'List hosts',
  responses: { 200: { description: 'All of them.', schema: listHosts.reply }, ...REFUSALS, ...INVALID },
});

export const getHostRoute = route({
  ...shared,
  access: 'fleet',
  name: 'getHost',
  method: 'GET',
  path: '/v1/hosts/{id}',
  summary: 'Read one host, as it is or as it was',
  params: HostParams,
  query: AtQuery,
  responses: { 200: { description: 'The host.', schema: Host }, ...REFUSALS, ...NOT_FOUND, ...INVALID },
});

export const hostHistoryRoute = route({
  ...shared,
  access: 'fleet',
  name: 'getHostHistory',
  method: 'GET',
  path: '/v1/hosts/{id}/history',
  summary: 'What became of a host, what was asked of it, and what its guards did and why; the latest entries',
  params: HostParams,
  query: z.strictObject({
    limit: count(1, 1_000).optional().describe('How many entries; else 100.'),
    before: count(1, Number.MAX_SAFE_INTEGER).optional().describe('Only those before this `sequence`.'),
  }),
  responses: {
    200: {
      description: 'In order of time. `more`: there are earlier ones.',
      schema: z.strictObject({ id: HostId, entries: z.array(HostHistoryEntry), more: z.boolean() }),
    },
    ...REFUSALS,
    ...NOT_FOUND,
    ...INVALID,
    ...AWAY,
  },
});

const ANSWERS = {
  200: { description: 'Done and on record.', schema: Host },
  ...NOT_DONE,
};

const command = <const Name extends string>(name: Name, summary: string) =>
  route({
    ...shared,
    name: `${name}Host`,
    method: 'POST',
    path: `/v1/hosts/{id}/${name}`,
    summary,
    params: HostParams,
    headers: IdempotencyHeaders,
    body: EmptyBody,
    responses: ANSWERS,
  });

export const cordonRoute = command('cordon', 'Put no new microVMs on this host; those there stay');
export const uncordonRoute = command('uncordon', 'Let it take new microVMs again');
export const retireRoute = command('retire', 'Declare that a lost host never returns');

export const drainPlanRoute = route({
  ...shared,
  access: 'fleet',
  name: 'planDrain',
  method: 'GET',
  path: '/v1/hosts/{id}/drain-plan',
  summary: 'What a drain would do with each microVM of this host',
  description: 'Changes nothing. Rooms on other hosts are looked for by the same code that places microVMs.',
  params: HostParams,
  query: z.strictObject({
    parallel: count(1, 256).optional().describe('How many are moved or stopped at a time; else 4.'),
    grace: duration(600_000)
      .optional()
      .describe("How long a guest may take to power off: '500ms', '20s', '2m'; else 10s."),
    kept: DrainOrder.shape.kept.optional().describe('What becomes of those that stay with their host; else `wait`.'),
  }),
  responses: {
    200: { description: 'The plan.', schema: DrainPlan },
    ...REFUSALS,
    ...NOT_FOUND,
    ...INVALID,
    ...AWAY,
  },
});

export const drainRoute = route({
  ...shared,
  name: 'drainHost',
  method: 'POST',
  path: '/v1/hosts/{id}/drain',
  summary: 'Empty this host: move its microVMs, stop them or wait for their end',
  description:
    'Answered when it is on record; `drain.progress` of the host tells how it goes. Sent again, it changes how it goes on.',
  params: HostParams,
  headers: IdempotencyHeaders,
  body: DrainOrder,
  responses: ANSWERS,
});

export const cancelDrainRoute = route({
  ...shared,
  name: 'cancelDrain',
  method: 'DELETE',
  path: '/v1/hosts/{id}/drain',
  summary: 'End a drain; the host is ready or cordoned as before, what was not touched stays',
  params: HostParams,
  headers: IdempotencyHeaders,
  responses: ANSWERS,
});

export const assignClassRoute = route({
  ...shared,
  name: 'assignHostClass',
  method: 'PUT',
  path: '/v1/hosts/{id}/class',
  summary: 'Put this host into a class, whatever its agent says; null leaves it to the agent',
  params: HostParams,
  headers: IdempotencyHeaders,
  body: z.strictObject({ class: HostClassName.nullable() }),
  responses: ANSWERS,
});
