import { INVALID, REFUSALS } from '../http/common-responses';
import { route } from '../http/route';

export const metricsRoute = route({
  tag: 'service',
  access: 'metrics',
  name: 'getMetrics',
  method: 'GET',
  path: '/metrics',
  summary: 'Figures for Prometheus: density per host and fleet, microVMs by state, latency of requests',
  description: 'Needs the token unless the gateway was started with `VOLLEY_METRICS_OPEN=1`.',
  responses: { 200: { description: 'Prometheus text format.', contentType: 'text/plain' }, ...REFUSALS, ...INVALID },
});
