import { dryRunPlacement } from '#protocol';
import { AWAY, INVALID, MALFORMED, REFUSALS } from '../http/common-responses';
import { route } from '../http/route';

export const dryRunRoute = route({
  tag: 'fleet',
  access: 'operator',
  name: 'dryRunPlacement',
  method: 'POST',
  path: '/v1/placement/dry-run',
  summary: 'Where microVMs of these specs would be placed now; changes nothing',
  description:
    'Decided one after the other by the code that decides for good, on the hosts as placement knows them, each finding them as the ones ' +
    'before left them. Chance has a part in it: a create that follows may go elsewhere. The rules of co-residency are those of each ' +
    "spec's tenant, unless others are given.",
  body: dryRunPlacement.request,
  responses: {
    200: { description: 'A receipt for each, in order.', schema: dryRunPlacement.reply },
    ...MALFORMED,
    ...REFUSALS,
    ...INVALID,
    ...AWAY,
  },
});
