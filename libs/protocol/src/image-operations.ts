import { z } from 'zod';
import { Digest, Image, ImageName } from './images';
import { operation } from './operation';

/** Where an image comes from. Files are uploaded first (`PUT /v1/uploads/{id}`). */
export const ImageSource = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('registry'),
    /** As Docker has it, with the registry's name in front: `registry.example/team/worker:3`. */
    reference: z.string().min(1).max(512),
    username: z.string().max(256).optional(),
    password: z.string().max(4_096).optional(),
    /** Certificate authority of the registry, PEM. */
    caPem: z.string().max(65_536).optional(),
    /** Allows plain HTTP and certificates nobody vouches for. */
    insecure: z.boolean().default(false),
  }),
  z.strictObject({
    type: z.literal('upload'),
    uploadId: z.string().regex(/^[a-zA-Z0-9_-]{1,64}$/),
    /** `rootfs`: a tar archive of a root file system; `disk`: one file system, or a raw disk whose first one it is; `kernel`: a bzImage, vmlinux or a Debian kernel package. */
    format: z.enum(['oci-archive', 'docker-archive', 'rootfs', 'disk', 'kernel']),
    /** The name of the file, for people. */
    filename: z.string().max(255).optional(),
  }),
  z.strictObject({
    type: z.literal('debian-kernel'),
    /** Debian's package of a kernel; default: the newest for cloud machines. */
    package: z
      .string()
      .regex(/^[a-z0-9][a-z0-9.+-]{1,127}$/)
      .optional(),
  }),
]);
export type ImageSource = z.infer<typeof ImageSource>;

export const ImageJob = z.strictObject({
  id: z.string(),
  name: ImageName,
  state: z.enum(['running', 'done', 'failed']),
  /** What it is doing, or why it failed: one sentence. */
  message: z.string(),
  image: Image.optional(),
  /** Code of the failure, as in error replies. */
  code: z.string().optional(),
});
export type ImageJob = z.infer<typeof ImageJob>;

export const importImage = operation({
  subject: 'volley.v1.image.import',
  queue: 'images',
  request: z.strictObject({
    name: ImageName,
    source: ImageSource,
    /** Refused unless the source has this digest (of the OCI manifest, or of the uploaded file). */
    expectedDigest: Digest.optional(),
    /** Name of an imported kernel; default: the newest Debian kernel for cloud machines, imported when first needed. */
    kernel: ImageName.optional(),
    by: z.string().min(1).max(128).optional(),
  }),
  reply: z.strictObject({ job: ImageJob }),
  deadlineMs: 5_000,
  summary: 'Begins to import an image; the job says how it goes.',
});

export const imageJob = operation({
  subject: 'volley.v1.image.job',
  queue: 'images',
  request: z.strictObject({
    id: z.string(),
    /** Answer later, when the job is over, but after this long at most. */
    waitMs: z.int().min(0).max(25_000).default(0),
  }),
  reply: z.strictObject({ job: ImageJob }),
  deadlineMs: 30_000,
  summary: 'How an import goes.',
});

export const listImages = operation({
  subject: 'volley.v1.image.list',
  queue: 'images',
  request: z.strictObject({}),
  reply: z.strictObject({ items: z.array(Image) }),
  deadlineMs: 5_000,
  summary: 'Lists imported images and kernels.',
});

export const removeImage = operation({
  subject: 'volley.v1.image.remove',
  queue: 'images',
  request: z.strictObject({ name: ImageName, by: z.string().min(1).max(128).optional() }),
  reply: z.strictObject({ removed: z.boolean() }),
  deadlineMs: 5_000,
  summary:
    'Takes a name away from its image. microVMs made from it go on; its content stays as long as one of them exists.',
});

export const collectImages = operation({
  subject: 'volley.v1.image.collect',
  queue: 'images',
  request: z.strictObject({ dryRun: z.boolean().default(false) }),
  reply: z.strictObject({ blobs: z.int(), bytes: z.int(), kept: z.int() }),
  deadlineMs: 60_000,
  summary: 'Deletes content that no image and no microVM uses.',
});
