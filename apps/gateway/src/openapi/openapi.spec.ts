import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROUTES } from '../routes';
import { buildOpenApi } from './openapi';

const docs = join(__dirname, '../../../../docs');

interface Operation {
  operationId: string;
  security?: unknown[];
  parameters?: { name: string; in: string; required: boolean; schema: object }[];
  requestBody?: { required: boolean; content: object };
  responses: Record<string, { $ref?: string }>;
}

describe('the OpenAPI document', () => {
  const document = JSON.parse(JSON.stringify(buildOpenApi())) as {
    openapi: string;
    paths: Record<string, Record<string, Operation>>;
    components: { schemas: Record<string, object>; responses: Record<string, { content: object }> };
  };
  const operations = Object.entries(document.paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({ path, method: method.toUpperCase(), operation })),
  );

  it('has every route once', () => {
    expect(document.openapi).toBe('3.1.0');
    expect(operations.map(({ method, path }) => `${method} ${path}`)).toEqual(
      expect.arrayContaining(ROUTES.map(({ method, path }) => `${method} ${path}`)),
    );
    expect(operations).toHaveLength(ROUTES.length);
    expect(new Set(operations.map(({ operation }) => operation.operationId)).size).toBe(operations.length);
  });

  it('refers only to what it defines, and defines only what it refers to', () => {
    const text = JSON.stringify(document);
    const used = new Set([...text.matchAll(/"#\/components\/schemas\/(\w+)"/g)].map(([, name]) => name));
    expect([...used].sort()).toEqual(Object.keys(document.components.schemas).sort());
  });

  it('names every place in a path', () => {
    for (const { path, operation } of operations) {
      const places = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
      const named = (operation.parameters ?? []).filter((parameter) => parameter.in === 'path' && parameter.required);
      expect(named.map(({ name }) => name)).toEqual(places);
    }
  });

  it('says that refusals are problems, and who may come in', () => {
    for (const { path, operation } of operations) {
      const open = ROUTES.find((route) => route.path === path)!.access === 'open';
      expect({ path, open: operation.security !== undefined, refusal: '401' in operation.responses }).toEqual({
        path,
        open,
        refusal: !open,
      });
      for (const [status, response] of Object.entries(operation.responses)) {
        if (Number(status) < 400) continue;
        const shared = document.components.responses[response.$ref!.split('/').at(-1)!]!;
        expect(Object.keys(shared.content)).toEqual(['application/problem+json']);
      }
    }
  });

  it('describes the create as a client sends it', () => {
    const body = document.components.schemas['CreateMicrovm'] as { required?: string[]; additionalProperties: boolean };
    // An image or a template, which a schema of fields alone cannot say.
    expect(body.required).toBeUndefined();
    expect(body.additionalProperties).toBe(false);
    const create = document.paths['/v1/microvms']!['post']!;
    expect(create.requestBody!.required).toBe(true);
    expect(create.parameters!.map((parameter) => `${parameter.in} ${parameter.name}`)).toEqual([
      'query wait',
      'query timeout',
      'header Idempotency-Key',
    ]);
  });

  it('is what docs/openapi.json holds (npm run docs:openapi writes it)', () => {
    expect(JSON.parse(readFileSync(join(docs, 'openapi.json'), 'utf8'))).toEqual(document);
  });

  it('is explained: docs/api.md has an example of every route', () => {
    const text = readFileSync(join(docs, 'api.md'), 'utf8');
    const missing = ROUTES.filter(({ method, path }) => !text.includes(`### \`${method} ${path}\``));
    expect(missing.map(({ method, path }) => `${method} ${path}`)).toEqual([]);
  });
});
