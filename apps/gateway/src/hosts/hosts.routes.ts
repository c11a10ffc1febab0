import { Host, HostId, listHosts } from '#protocol';
import { z } from 'zod';
import { AWAY, CONFLICT, INVALID, MALFORMED, NOT_FOUND, REFUSALS } from '../http/common-responses';
import { route } from '../http/route';
import { EmptyBody, IdempotencyHeaders } from '../microvms/microvms.schemas';

const shared = { tag: 'hosts', access: 'operator' } as const;
export const HostParams = z.strictObject({ id: HostId.describe('Id of the host.') });

export const listHostsRoute = route({
  ...shared,
  name: 'listHosts',
  method: 'GET',
  path: '/v1/hosts',
  summary: 'List hosts',
  responses: { 200: { description: 'All of them.', schema: listHosts.reply }, ...REFUSALS, ...INVALID },
});

export const getHostRoute = route({
  ...shared,
  name: 'getHost',
  method: 'GET',
  path: '/v1/hosts/{id}',
  summary: 'Read one host',
  params: HostParams,
  responses: { 200: { description: 'The host.', schema: Host }, ...REFUSALS, ...NOT_FOUND, ...INVALID },
});

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
    responses: {
      200: { description: 'Done and on record.', schema: Host },
      ...MALFORMED,
      ...REFUSALS,
      ...NOT_FOUND,
      ...CONFLICT,
      ...INVALID,
      ...AWAY,
    },
  });

export const cordonRoute = command('cordon', 'Put no new microVMs on this host; those there stay');
export const uncordonRoute = command('uncordon', 'Let it take new microVMs again');
export const retireRoute = command('retire', 'Declare that a lost host never returns');
