import { DensityHistory, DensityReport, FleetDensity, Microvm, MicrovmDensity, TenantUsage } from '#protocol';
import { z } from 'zod';
import { AWAY, INVALID, NOT_FOUND, REFUSALS } from '../http/common-responses';
import { duration, InstantText } from '../http/query-types';
import { route } from '../http/route';
import { HostParams } from '../hosts/hosts.routes';
import { ListQuery, MicrovmList, MicrovmParams } from '../microvms/microvms.schemas';
import { TenantParams } from '../tenancy/tenants.routes';

const LONGEST_STEP_MS = 24 * 3_600_000;

/** With `from` or `to` an answer has the history, too. */
export const HistoryQuery = z.strictObject({
  from: InstantText.optional().describe('First instant of the history; an hour before `to` when absent.'),
  to: InstantText.optional().describe('End of the history; now when absent.'),
  step: duration(LONGEST_STEP_MS)
    .refine((ms) => ms >= 10_000 && ms % 10_000 === 0, 'must be a whole number of ten seconds')
    .optional()
    .describe(
      "Length of a step: '10s' within the last hour, else '1m' and more. Absent: what gives some hundred points.",
    ),
});
const HISTORY =
  'With `from`, `to` or `step` the answer has a history: least, mean, most and 99th percentile of each step. Kept are steps of ten ' +
  'seconds for an hour, and of minutes for eight days. docs/density.md defines every figure.';

/** A history, where it was asked for. */
const history = DensityHistory.optional();
export const FleetDensityAnswer = FleetDensity.extend({ history });
export const HostDensityAnswer = z.strictObject({ host: DensityReport, history });
export const MicrovmsDensityAnswer = MicrovmList.extend({
  items: z.array(z.strictObject({ microvm: Microvm, density: MicrovmDensity.nullable() })),
});
export const TenantDensityAnswer = z.strictObject({ tenant: TenantUsage, history });

export const densityRoute = route({
  tag: 'fleet',
  access: 'fleet',
  name: 'getDensity',
  method: 'GET',
  path: '/v1/density',
  summary: 'How full the hosts and the fleet are: promised, used, overcommit ratio, headroom, pressure, marginal cost',
  description: HISTORY,
  query: HistoryQuery,
  responses: {
    200: { description: 'The latest report of every host, and their sums.', schema: FleetDensityAnswer },
    ...REFUSALS,
    ...INVALID,
    ...AWAY,
  },
});

export const hostDensityRoute = route({
  tag: 'hosts',
  access: 'fleet',
  name: 'getHostDensity',
  method: 'GET',
  path: '/v1/hosts/{id}/density',
  summary: 'Where the memory and CPU of a host are, what one more microVM costs and how many more fit',
  description: HISTORY,
  params: HostParams,
  query: HistoryQuery,
  responses: {
    200: { description: 'Its latest report.', schema: HostDensityAnswer },
    ...REFUSALS,
    ...NOT_FOUND,
    ...INVALID,
    ...AWAY,
  },
});

export const tenantDensityRoute = route({
  tag: 'tenants',
  access: 'view',
  name: 'getTenantDensity',
  method: 'GET',
  path: '/v1/tenants/{id}/density',
  summary: 'What a tenant was promised and really takes; a tenant reads its own',
  description: HISTORY,
  params: TenantParams,
  query: HistoryQuery,
  responses: {
    200: { description: 'Sums over its microVMs on all hosts.', schema: TenantDensityAnswer },
    ...REFUSALS,
    ...NOT_FOUND,
    ...INVALID,
    ...AWAY,
  },
});

export const microvmDensityRoute = route({
  tag: 'microVMs',
  access: 'view',
  name: 'getMicrovmDensity',
  method: 'GET',
  path: '/v1/microvms/{id}/density',
  summary: 'What one microVM takes, as its host measures it from outside',
  description:
    'Not found, too, while it does not run on a host, and in the moment before it is measured for the first time.',
  params: MicrovmParams,
  responses: {
    200: { description: 'Its latest measurement.', schema: MicrovmDensity },
    ...REFUSALS,
    ...NOT_FOUND,
    ...INVALID,
    ...AWAY,
  },
});

export const microvmsDensityRoute = route({
  tag: 'microVMs',
  access: 'view',
  name: 'listMicrovmDensity',
  method: 'GET',
  path: '/v1/density/microvms',
  summary: 'List microVMs, oldest first, with what each of them really takes',
  description:
    'Filters and pages are those of the list. What is not measured, or not within five seconds, has `density: null`.',
  query: ListQuery,
  responses: { 200: { description: 'One page.', schema: MicrovmsDensityAnswer }, ...REFUSALS, ...INVALID },
});
