import { dryRunPlacement, whatIf, WhatIfQuestion } from '#protocol';
import { z } from 'zod';
import { AWAY, CONFLICT, INVALID, MALFORMED, REFUSALS } from '../http/common-responses';
import { InstantText } from '../http/query-types';
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

const InstantOrMs = z.union([InstantText, z.number().nonnegative()]);

export const whatIfRoute = route({
  tag: 'fleet',
  access: 'operator',
  name: 'askWhatIf',
  method: 'POST',
  path: '/v1/whatif',
  summary: 'What would have become of the load of a time with other limits or hosts; changes nothing',
  description:
    'The creates, starts and restarts on record once more through the code that decides in this fleet, in virtual time: first as it was, ' +
    'which tells how far to trust the rest, then each alternative. Several runs with other chance give the spread. One is answered at a time; ' +
    'it may take two minutes.',
  body: WhatIfQuestion.extend({
    from: InstantOrMs.describe('ISO 8601 with a time zone, or ms since 1970.'),
    to: InstantOrMs.optional().describe('The same; absent: now.'),
  }),
  responses: {
    200: { description: 'What happened, and what would have.', schema: whatIf.reply },
    ...MALFORMED,
    ...REFUSALS,
    ...CONFLICT,
    ...INVALID,
    ...AWAY,
  },
});
