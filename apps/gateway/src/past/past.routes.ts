import { Retention } from '#protocol';
import { INVALID, AWAY, CONFLICT, REFUSALS } from '../http/common-responses';
import { route } from '../http/route';
import { CoresidencyAnswer, CoresidencyQuery, DiffQuery, FleetAt, FleetDiffAnswer, FleetQuery } from './past.schemas';

const shared = { tag: 'fleet', access: 'operator', method: 'GET' } as const;

export const fleetRoute = route({
  ...shared,
  name: 'getFleet',
  path: '/v1/fleet',
  summary: 'Every microVM, host and group as it is, or as it was at an instant',
  description:
    'Folded from the histories up to the instant; the filters are those of the list of microVMs. The pages of one instant are of one ' +
    'picture. Few look into the past at a time: the others are answered 429.',
  query: FleetQuery,
  responses: { 200: { description: 'One page.', schema: FleetAt }, ...REFUSALS, ...INVALID, ...AWAY },
});

export const fleetDiffRoute = route({
  ...shared,
  name: 'getFleetDiff',
  path: '/v1/fleet/diff',
  summary: 'What became of the fleet between two instants',
  description:
    '`appeared`, `ended`, `changed` (its state, host or epoch), or `cameAndWent`: it began and ended in between. What is as it was is only counted.',
  query: DiffQuery,
  responses: {
    200: { description: 'One page, and the sums of all.', schema: FleetDiffAnswer },
    ...REFUSALS,
    ...CONFLICT,
    ...INVALID,
    ...AWAY,
  },
});

export const coresidencyRoute = route({
  ...shared,
  name: 'getCoresidency',
  path: '/v1/coresidency',
  summary: 'Who shared a host with a tenant between two instants',
  description:
    'An incarnation is on its host from its placement until its end is known; while the host does not answer it counts as there.',
  query: CoresidencyQuery,
  responses: {
    200: { description: 'The hosts on which anybody did.', schema: CoresidencyAnswer },
    ...REFUSALS,
    ...CONFLICT,
    ...INVALID,
    ...AWAY,
  },
});

export const retentionRoute = route({
  ...shared,
  name: 'getRetention',
  path: '/v1/retention',
  summary: 'How long histories are kept, and what has been compacted',
  responses: { 200: { description: 'How it stands.', schema: Retention }, ...REFUSALS, ...INVALID, ...AWAY },
});
