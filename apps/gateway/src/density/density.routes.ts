import { FleetDensity } from '#protocol';
import { AWAY, INVALID, REFUSALS } from '../http/common-responses';
import { route } from '../http/route';

export const densityRoute = route({
  tag: 'fleet',
  access: 'fleet',
  name: 'getDensity',
  method: 'GET',
  path: '/v1/density',
  summary: 'How full the hosts and the fleet are: promised, used, overcommit ratio, headroom, pressure',
  responses: {
    200: { description: 'The latest report of every host, and their sums.', schema: FleetDensity },
    ...REFUSALS,
    ...INVALID,
    ...AWAY,
  },
});
