import { z } from 'zod';
import { AWAY, INVALID } from '../http/common-responses';
import { route } from '../http/route';

const shared = { tag: 'service', access: 'open', method: 'GET' } as const;

export const Health = z.strictObject({ status: z.literal('alive') });
export const ReadinessChecks = z.strictObject({
  /** The connection to NATS. */
  nats: z.string(),
  /** Whether a controller answers. */
  controller: z.string(),
  /** `ok` until the process is told to stop. */
  process: z.string(),
});
export const Ready = z.strictObject({ status: z.literal('ready'), checks: ReadinessChecks });

export const healthRoute = route({
  ...shared,
  name: 'getHealth',
  path: '/healthz',
  summary: 'Whether this process is alive',
  responses: { 200: { description: 'It is.', schema: Health }, ...INVALID },
});

export const readyRoute = route({
  ...shared,
  name: 'getReadiness',
  path: '/readyz',
  summary: 'Whether this gateway can serve: NATS is connected, the fleet is folded, a controller answers',
  responses: { 200: { description: 'It can.', schema: Ready }, ...INVALID, 503: AWAY[503] },
});
