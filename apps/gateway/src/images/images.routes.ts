import { collectImages, Image, ImageJob, ImageName, importImage, listImages } from '#protocol';
import { z } from 'zod';
import { AWAY, INVALID, MALFORMED, NOT_FOUND, REFUSALS } from '../http/common-responses';
import { duration } from '../http/query-types';
import { Problem } from '../http/problem';
import { route } from '../http/route';

const shared = { tag: 'images', access: 'operator' } as const;

/** What the bus lets an answer wait for. */
const MAX_WAIT_MS = 25_000;

export const ImportBody = importImage.request.omit({ by: true });
export const ImageParams = z.strictObject({
  name: ImageName.describe('Name of the image; a slash in it is written %2F, a colon may be.'),
});
export const ImageList = listImages.reply;
export const Removed = z.strictObject({ removed: z.literal(true) });
export const CollectBody = collectImages.request;
export const Collected = collectImages.reply;
export const Upload = z.strictObject({
  id: z.string(),
  /** Of what arrived. */
  digest: z.string(),
  bytes: z.int(),
});

export const importImageRoute = route({
  ...shared,
  name: 'importImage',
  method: 'POST',
  path: '/v1/images',
  summary: 'Begin to import an image or a kernel; the job says how it goes',
  description:
    'Files are uploaded first (`PUT /v1/uploads/{id}`). Sent again while it runs, the same request is answered with the same job.',
  body: ImportBody,
  responses: {
    202: { description: 'It has begun.', schema: ImageJob, headers: { Location: 'Where its job is.' } },
    ...MALFORMED,
    ...REFUSALS,
    ...INVALID,
    ...AWAY,
  },
});

export const imageJobRoute = route({
  ...shared,
  name: 'getImageJob',
  method: 'GET',
  path: '/v1/image-jobs/{id}',
  summary: 'How an import goes',
  params: z.strictObject({
    id: z
      .string()
      .regex(/^[0-9a-zA-Z_-]{1,64}$/)
      .describe('Id of the job.'),
  }),
  query: z.strictObject({
    wait: duration(MAX_WAIT_MS)
      .optional()
      .describe(`Answer when it is over, or after this long: at most ${MAX_WAIT_MS / 1000}s.`),
  }),
  responses: {
    200: { description: 'The job: `running`, `done` with the image, or `failed` with the reason.', schema: ImageJob },
    ...REFUSALS,
    ...NOT_FOUND,
    ...INVALID,
    ...AWAY,
  },
});

export const listImagesRoute = route({
  ...shared,
  access: 'view',
  name: 'listImages',
  method: 'GET',
  path: '/v1/images',
  summary: 'List imported images and kernels',
  responses: { 200: { description: 'All of them, by name.', schema: ImageList }, ...REFUSALS, ...INVALID, ...AWAY },
});

export const getImageRoute = route({
  ...shared,
  access: 'view',
  name: 'getImage',
  method: 'GET',
  path: '/v1/images/{name}',
  summary: 'Read one image',
  params: ImageParams,
  responses: { 200: { description: 'The image.', schema: Image }, ...REFUSALS, ...NOT_FOUND, ...INVALID, ...AWAY },
});

export const removeImageRoute = route({
  ...shared,
  name: 'removeImage',
  method: 'DELETE',
  path: '/v1/images/{name}',
  summary: 'Take the name away from an image',
  description:
    'MicroVMs that were made from it go on, and can be started again. Its content stays until it is collected, and as long as any of them exists.',
  params: ImageParams,
  responses: {
    200: { description: 'The name stands for nothing any more.', schema: Removed },
    ...REFUSALS,
    ...NOT_FOUND,
    ...INVALID,
    ...AWAY,
  },
});

export const collectImagesRoute = route({
  ...shared,
  name: 'collectImages',
  method: 'POST',
  path: '/v1/images/collect',
  summary: 'Delete content that no image and no microVM uses',
  body: CollectBody,
  responses: {
    200: { description: 'How much was deleted (with `dryRun`: would be), and how many blobs stay.', schema: Collected },
    ...MALFORMED,
    ...REFUSALS,
    ...INVALID,
    ...AWAY,
  },
});

const TOO_LARGE = {
  413: {
    name: 'UploadTooLarge',
    description: 'The file is larger than this gateway takes.',
    schema: Problem,
    contentType: 'application/problem+json',
  },
  415: {
    name: 'NotAFile',
    description: 'The body is not application/octet-stream.',
    schema: Problem,
    contentType: 'application/problem+json',
  },
};
const NO_ROOM = {
  409: {
    name: 'NoRoom',
    description: 'The image store has no room for it.',
    schema: Problem,
    contentType: 'application/problem+json',
  },
};

export const uploadRoute = route({
  ...shared,
  name: 'putUpload',
  method: 'PUT',
  path: '/v1/uploads/{id}',
  summary: 'Upload a file for an import',
  description: 'Kept for an hour, or until it is imported. The body is streamed; nothing stays of one that breaks off.',
  params: z.strictObject({
    id: z
      .string()
      .regex(/^[a-zA-Z0-9_-]{1,64}$/, 'must be 1..64 letters, digits, - or _')
      .describe('Chosen by you.'),
  }),
  upload: 'The file: an archive, a disk or a kernel.',
  responses: {
    200: { description: 'It is there, whole; the digest is that of what arrived.', schema: Upload },
    ...REFUSALS,
    ...NOT_FOUND,
    ...NO_ROOM,
    ...TOO_LARGE,
    ...INVALID,
    ...AWAY,
  },
});
