import { z } from 'zod';
import { Digest } from './images';
import { operation } from './operation';
import { TemplateFileName, TemplateId, TemplateManifest } from './templates';
import { WorkingSet } from './working-set';

/** Files of templates are stored in pieces of so many bytes, the last of a file shorter. As base64, one fits into a request. */
export const PIECE_BYTES = 128 * 1024;

/**
 * A template in the object store: its manifest, and for each file the digests of its tables. A table is a piece itself: 32 bytes for each
 * piece of the file, in order, its SHA-256, or zeros for a piece of zeros, which is not stored.
 */
export const TemplateContent = z.strictObject({
  schema: z.literal(1),
  manifest: TemplateManifest,
  tables: z.array(z.strictObject({ name: TemplateFileName, pieces: z.array(Digest).max(4_096) })).max(32),
});
export type TemplateContent = z.output<typeof TemplateContent>;

/** As many pieces as one message asks for. */
export const PIECES_ASKED_MOST = 1_024;
const Digests = z.array(Digest).max(PIECES_ASKED_MOST);

/**
 * host -> image service. Those that are there are kept for the publication that has begun. `refused`: the template is not on record as
 * one that this host holds.
 */
export const lackingPieces = operation({
  subject: 'volley.v1.hosts.{hostId}.template.lacking',
  queue: 'images',
  request: z.strictObject({ templateId: TemplateId, digests: Digests }),
  reply: z.strictObject({ digests: Digests }),
  deadlineMs: 30_000,
  summary: 'Which pieces of a template the object store does not have.',
});

/** host -> image service. Stored under its digest, which is answered. `refused`: as {@link lackingPieces}, or there is no room. */
export const putPiece = operation({
  subject: 'volley.v1.hosts.{hostId}.template.put',
  queue: 'images',
  request: z.strictObject({ templateId: TemplateId, content: z.base64() }),
  reply: z.strictObject({ digest: Digest }),
  deadlineMs: 15_000,
  summary: 'Stores a piece of a template.',
});

/** host -> image service, once all pieces are stored: from then on the template can be fetched. `lacking`: it is not, without these. */
export const publishTemplate = operation({
  subject: 'volley.v1.hosts.{hostId}.template.publish',
  queue: 'images',
  request: z.strictObject({ templateId: TemplateId, content: TemplateContent }),
  reply: z.strictObject({ lacking: Digests }),
  deadlineMs: 60_000,
  summary: 'Makes a template of the pieces that were stored.',
});

/** host -> image service. Only for who can name its digest, as the spec of a clone does. `notFound`: it is not there (any more). */
export const templateContent = operation({
  subject: 'volley.v1.hosts.{hostId}.template.content',
  queue: 'images',
  request: z.strictObject({ templateId: TemplateId, digest: Digest }),
  reply: z.strictObject({ content: TemplateContent }),
  deadlineMs: 15_000,
  summary: 'What a template in the object store consists of.',
});

/**
 * host -> image service, once clones have shown it. In place of one that was told before. `refused`: as {@link lackingPieces}, or the template has
 * less memory.
 */
export const putWorkingSet = operation({
  subject: 'volley.v1.hosts.{hostId}.template.putWorkingSet',
  queue: 'images',
  request: z.strictObject({ templateId: TemplateId, workingSet: WorkingSet }),
  reply: z.strictObject({}),
  deadlineMs: 15_000,
  summary: 'Stores where the clones of a template are in its memory in their first moments.',
});

/**
 * host -> image service. A question of its own, and no part of {@link templateContent}: hosts that have not heard of it fetch templates as ever. As there,
 * only for who can name the digest. Null: nobody has told.
 */
export const templateWorkingSet = operation({
  subject: 'volley.v1.hosts.{hostId}.template.workingSet',
  queue: 'images',
  request: z.strictObject({ templateId: TemplateId, digest: Digest }),
  reply: z.strictObject({ workingSet: WorkingSet.nullable() }),
  deadlineMs: 5_000,
  summary: 'Where the clones of a template are in its memory in their first moments.',
});

/** host -> image service. `notFound`: it is not there (any more). */
export const readPiece = operation({
  subject: 'volley.v1.hosts.{hostId}.template.piece',
  queue: 'images',
  request: z.strictObject({ digest: Digest }),
  reply: z.strictObject({ content: z.base64() }),
  deadlineMs: 15_000,
  summary: 'A piece of a template.',
});
