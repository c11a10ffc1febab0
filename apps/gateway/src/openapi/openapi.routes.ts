import { INVALID } from '../http/common-responses';
import { route } from '../http/route';

export const openApiRoute = route({
  tag: 'service',
  access: 'open',
  name: 'getOpenApi',
  method: 'GET',
  path: '/openapi.json',
  summary: 'This description, as OpenAPI 3.1',
  responses: { 200: { description: 'The document.', contentType: 'application/json' }, ...INVALID },
});
