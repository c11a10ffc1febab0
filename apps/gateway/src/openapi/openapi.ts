import type { z } from 'zod';
import type { ResponseDefinition, RouteDefinition } from '../http/route';
import { ROUTES } from '../routes';
import { schemaComponents, schemaOf } from './schema-components';

export const API_VERSION = '1';

/** The OpenAPI 3.1 document of all routes, made from the definitions that also validate requests. */
export function buildOpenApi(routes: readonly RouteDefinition[] = ROUTES): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const definition of routes) {
    (paths[definition.path] ??= {})[definition.method.toLowerCase()] = operationOf(definition);
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Volley',
      version: API_VERSION,
      description:
        'A fleet of microVM hosts. Every error is a problem document (RFC 9457). Unknown fields and parameters are refused. ' +
        'Commands take an `Idempotency-Key`.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    security: [{ token: [] }],
    tags: ['microVMs', 'groups', 'templates', 'images', 'hosts', 'fleet', 'tenants', 'service', 'console'].map(
      (name) => ({ name }),
    ),
    paths,
    components: {
      securitySchemes: {
        token: { type: 'http', scheme: 'bearer', description: 'A token of an operator or of a tenant.' },
      },
      schemas: schemaComponents(),
      responses: sharedResponses(routes),
    },
  };
}

function operationOf(definition: RouteDefinition): object {
  const parameters = [
    ...parametersOf('path', definition.params),
    ...parametersOf('query', definition.query),
    ...parametersOf('header', definition.headers),
  ];
  return {
    operationId: definition.name,
    tags: [definition.tag],
    summary: definition.summary,
    ...(definition.description === undefined ? {} : { description: definition.description }),
    ...(definition.access === 'open' ? { security: [] } : {}),
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(definition.body === undefined ? {} : { requestBody: bodyOf(definition.body) }),
    ...(definition.upload === undefined ? {} : { requestBody: fileOf(definition.upload) }),
    responses: Object.fromEntries(
      Object.entries(definition.responses).map(([status, response]) => [
        status,
        response.name === undefined ? responseOf(response) : { $ref: `#/components/responses/${response.name}` },
      ]),
    ),
  };
}

function sharedResponses(routes: readonly RouteDefinition[]): Record<string, object> {
  const shared = routes.flatMap(({ responses }) => Object.values(responses)).filter(({ name }) => name !== undefined);
  return Object.fromEntries(shared.map((response) => [response.name!, responseOf(response)]));
}

function parametersOf(place: 'path' | 'query' | 'header', schema: z.ZodObject | undefined): object[] {
  if (!schema) return [];
  const { properties = {}, required = [] } = schemaOf(schema, 'input') as {
    properties?: Record<string, Record<string, unknown>>;
    required?: string[];
  };
  return Object.entries(properties).map(([name, { description, ...rest }]) => ({
    name: place === 'header' ? name.replace(/(^|-)[a-z]/g, (letters) => letters.toUpperCase()) : name,
    in: place,
    required: required.includes(name),
    ...(description === undefined ? {} : { description }),
    schema: rest,
  }));
}

function bodyOf(schema: z.ZodType): object {
  return {
    required: !schema.safeParse({}).success,
    content: { 'application/json': { schema: schemaOf(schema, 'input') } },
  };
}

function fileOf(description: string): object {
  return {
    description,
    required: true,
    content: { 'application/octet-stream': { schema: { type: 'string', format: 'binary' } } },
  };
}

function responseOf({ description, schema, contentType, headers }: ResponseDefinition): object {
  const content: Record<string, object> = {};
  const types =
    contentType === 'text/plain' && schema ? ['text/plain', 'application/json'] : [contentType ?? 'application/json'];
  for (const type of types) {
    if (schema) content[type] = { schema: type === 'text/plain' ? { type: 'string' } : schemaOf(schema, 'output') };
    else if (contentType !== undefined)
      content[type] = type === 'application/json' ? { schema: { type: 'object' } } : {};
  }
  return {
    description,
    ...(headers === undefined
      ? {}
      : {
          headers: Object.fromEntries(
            Object.entries(headers).map(([name, text]) => [name, { description: text, schema: { type: 'string' } }]),
          ),
        }),
    ...(Object.keys(content).length === 0 ? {} : { content }),
  };
}
