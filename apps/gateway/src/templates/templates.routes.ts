import { createTemplate, listTemplates, PoolPolicy, Template, TemplateId, TenantId } from '#protocol';
import { z } from 'zod';
import { AWAY, CONFLICT, INVALID, MALFORMED, NOT_DONE, NOT_FOUND, REFUSALS } from '../http/common-responses';
import { route } from '../http/route';
import { EmptyBody, IdempotencyHeaders } from '../microvms/microvms.schemas';

const shared = { tag: 'templates', access: 'use' } as const;
const one = { ...shared, params: z.strictObject({ id: TemplateId.describe('Id of the template.') }) } as const;
const { microvmId, name, afterwards } = createTemplate.request.shape;

export const createTemplateRoute = route({
  ...shared,
  name: 'createTemplate',
  method: 'POST',
  path: '/v1/templates',
  summary: 'Make a template of a running or paused microVM, from which clones start in milliseconds',
  description:
    'The microVM stands still for moments only and goes on as it was, or ends. The template is `creating` at first; read it until it is ' +
    '`ready` or `failed`. Whatever is in the memory of the microVM is in that of every clone: make templates before secrets are there.',
  headers: IdempotencyHeaders,
  body: z.strictObject({ microvmId, name, afterwards }),
  responses: {
    200: { description: 'It was asked for already, by the same key.', schema: Template },
    202: {
      description: 'On record; it is being made.',
      schema: Template,
      headers: { Location: 'Where it is.' },
    },
    ...MALFORMED,
    ...REFUSALS,
    ...NOT_FOUND,
    ...CONFLICT,
    ...INVALID,
    ...AWAY,
  },
});

export const listTemplatesRoute = route({
  ...shared,
  access: 'view',
  name: 'listTemplates',
  method: 'GET',
  path: '/v1/templates',
  summary: 'List templates that are not deleted, oldest first',
  query: z.strictObject({ tenant: TenantId.optional().describe('Of this tenant only.') }),
  responses: { 200: { description: 'All of them.', schema: listTemplates.reply }, ...REFUSALS, ...INVALID, ...AWAY },
});

export const getTemplateRoute = route({
  ...one,
  access: 'view',
  name: 'getTemplate',
  method: 'GET',
  path: '/v1/templates/{id}',
  summary: 'Read one template',
  responses: {
    200: { description: 'The template.', schema: Template },
    ...REFUSALS,
    ...NOT_FOUND,
    ...INVALID,
    ...AWAY,
  },
});

export const setPoolRoute = route({
  ...one,
  name: 'setTemplatePool',
  method: 'PUT',
  path: '/v1/templates/{id}/pool',
  summary: 'Say how many warm clones of it its hosts keep ready',
  headers: IdempotencyHeaders,
  body: PoolPolicy,
  responses: { 200: { description: 'Its hosts do so next.', schema: Template }, ...NOT_DONE },
});

export const deleteTemplateRoute = route({
  ...one,
  name: 'deleteTemplate',
  method: 'DELETE',
  path: '/v1/templates/{id}',
  summary: 'Delete it; clones that run go on, and fail when they are started again',
  headers: IdempotencyHeaders,
  body: EmptyBody,
  responses: { 200: { description: 'Its hosts give it up next.', schema: Template }, ...NOT_DONE },
});
