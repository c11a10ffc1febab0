import { z } from 'zod';
import { MicrovmId, TenantId } from './ids';
import { operation } from './operation';
import { By, CommandId } from './operator-operations';
import { PoolPolicy, Template, TemplateId, TemplateName } from './templates';

const asked = { commandId: CommandId.optional(), by: By.optional() };

/** `conflict`: the microVM is neither running nor paused. The template is `creating` when this is answered; it is durable. */
export const createTemplate = operation({
  subject: 'volley.v1.template.create',
  queue: 'controller',
  request: z.strictObject({
    microvmId: MicrovmId,
    name: TemplateName.optional(),
    /** What becomes of the microVM once its snapshot is taken: it goes on as it was, or it ends. */
    afterwards: z.enum(['resume', 'end']).default('resume'),
    /** Chosen by a caller that may have to send the same request again; else the controller chooses. */
    id: TemplateId.optional(),
    ...asked,
  }),
  reply: z.strictObject({ template: Template, created: z.boolean() }),
  deadlineMs: 5_000,
  summary: 'Makes a template of a running or paused microVM, from which clones start in milliseconds.',
});

export const listTemplates = operation({
  subject: 'volley.v1.template.list',
  queue: 'controller',
  request: z.strictObject({ tenant: TenantId.optional() }),
  reply: z.strictObject({ items: z.array(Template) }),
  deadlineMs: 2_000,
  summary: 'Lists templates that are not deleted, by age.',
});

const one = { id: TemplateId };
const reply = z.strictObject({ template: Template });

export const getTemplate = operation({
  subject: 'volley.v1.template.get',
  queue: 'controller',
  request: z.strictObject(one),
  reply,
  deadlineMs: 2_000,
  summary: 'Reads one template.',
});

export const deleteTemplate = operation({
  subject: 'volley.v1.template.delete',
  queue: 'controller',
  request: z.strictObject({ ...one, ...asked }),
  reply,
  deadlineMs: 5_000,
  summary: 'Deletes a template. Clones that run go on; those that are started again fail.',
});

export const setPool = operation({
  subject: 'volley.v1.template.pool',
  queue: 'controller',
  request: z.strictObject({ ...one, pool: PoolPolicy.nullable(), ...asked }),
  reply,
  deadlineMs: 5_000,
  summary: 'Says how many warm clones of a template its hosts keep ready; null: none.',
});
