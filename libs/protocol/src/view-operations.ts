import { z } from 'zod';
import { operation } from './operation';

/** Of what a process holds the folded histories. */
export const ViewKind = z.enum(['microvm', 'host', 'group']);
export type ViewKind = z.infer<typeof ViewKind>;

const Instance = z.string().regex(/^[a-zA-Z0-9_.-]{1,128}$/);

/** auditor -> every process that folds the histories; each answers for itself, so there is no queue group. */
export const announceView = operation({
  subject: 'volley.v1.view.announce',
  request: z.strictObject({}),
  reply: z.strictObject({
    instance: Instance,
    service: z.string(),
    /** What it has folded; processes that do not say fold no groups yet. */
    kinds: z.array(ViewKind).default(['microvm', 'host']),
  }),
  deadlineMs: 2_000,
  summary: 'Every process that holds the folded histories answers with its name.',
});

/** auditor -> one of them. `position`: all records of the histories up to this sequence are folded in; of some more are, perhaps. */
export const readView = operation({
  subject: 'volley.v1.view.read',
  request: z.strictObject({
    instance: Instance,
    kind: ViewKind,
    /** Id of the last entry of the page before. */
    cursor: z.string().optional(),
    limit: z.int().min(1).max(1_000).default(250),
  }),
  reply: z.strictObject({
    position: z.int().min(0),
    /** The living, in order of their ids. `digest`: SHA-256 of all that folding the history gave, in hex. */
    entries: z.array(z.strictObject({ id: z.string(), revision: z.int(), digest: z.string() })),
    nextCursor: z.string().nullable(),
  }),
  deadlineMs: 5_000,
  summary: 'A page of what one process has folded: ids, revisions and hashes; answered by the named one only.',
});
