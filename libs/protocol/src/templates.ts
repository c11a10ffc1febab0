import { z } from 'zod';
import { HostId, MicrovmId, TenantId } from './ids';
import { Blob, Digest, findImage } from './images';
import { Instant } from './microvm-events';
import { MicrovmSpec } from './microvm-spec';
import { SnapshotPlatform } from './snapshot-platform';

/** Id of a template: made as ids of microVMs are. */
export const TemplateId = z
  .string()
  .regex(/^[0-9a-hjkmnp-tv-z]{26}$/, 'must be the id of a template, of 26 characters');

/** For people; the newest ready template of a name stands for it. */
export const TemplateName = z
  .string()
  .regex(/^[a-z0-9][a-z0-9._-]{0,62}$/, "must be 1..63 lower-case letters, digits, '.', '_' or '-'");

/** Takes `ID@sha256:…` apart: how the spec of a clone names its template once the controller has pinned it. */
export function parseTemplateReference(text: string): { template: string; digest?: string } {
  const at = text.indexOf('@');
  return at < 0 ? { template: text } : { template: text.slice(0, at), digest: text.slice(at + 1) };
}

/** Of a file in the folder of a template. */
export const TemplateFileName = z.string().regex(/^[a-z0-9][a-z0-9.-]{0,63}$/);

/** What a template consists of. Its digest, that of its canonical JSON, names its content for ever. */
export const TemplateManifest = z.strictObject({
  schema: z.literal(1),
  kind: z.literal('template'),
  templateId: TemplateId,
  /** What its source was made from: a clone has its image, vCPUs, memory and devices. */
  spec: MicrovmSpec,
  platform: SnapshotPlatform,
  /** For how long its source stood still. */
  pauseMs: z.number().nonnegative(),
  /** Its data disks that its guest does not use. */
  unusedDisks: z.array(z.int().nonnegative()).optional(),
  /** Files of the snapshot and of its disks, by their names in the folder of the template. */
  files: z
    .array(z.strictObject({ name: TemplateFileName, blob: Blob }))
    .min(1)
    .max(32),
});
export type TemplateManifest = z.output<typeof TemplateManifest>;

/** What a placement depends on of the template of a clone. */
export const TemplatePlaces = z.strictObject({
  id: TemplateId,
  /** Those that hold it. */
  hosts: z.array(HostId).readonly(),
  /** Bytes that any other host would have to fetch; absent: none can, it is not in the object store. */
  fetchBytes: z.int().nonnegative().optional(),
  /** What its snapshot depends on; absent: not known, and not compared. */
  platform: SnapshotPlatform.optional(),
});
export type TemplatePlaces = z.output<typeof TemplatePlaces>;

export const TEMPLATE_STATES = ['creating', 'ready', 'failed', 'deleted'] as const;
export const TemplateStateName = z.enum(TEMPLATE_STATES);
export type TemplateStateName = z.infer<typeof TemplateStateName>;

/** How many warm clones are kept ready; see {@link https://en.wikipedia.org/wiki/Little%27s_law Little's law} for `auto`. */
export const PoolPolicy = z
  .strictObject({
    /** Kept ready on each host that holds the template, whatever the demand. */
    min: z.int().min(0).max(1_000).default(0),
    /** At most so many on one host; 0: no pool. */
    max: z.int().min(0).max(1_000),
    /** Without a claim for this long, a host keeps `min` only. */
    quietSeconds: z.int().min(1).max(86_400).default(300),
  })
  .refine(({ min, max }) => min <= max, { message: 'must not be more than max', path: ['min'] });
export type PoolPolicy = z.output<typeof PoolPolicy>;

/** A snapshot of a booted microVM from which clones start, as every reader sees it. */
export const Template = z.strictObject({
  id: TemplateId,
  name: TemplateName.nullable(),
  tenant: TenantId,
  /** `deleted`: hosts are giving it up. */
  state: TemplateStateName,
  /** Why it failed. */
  reason: z.string().nullable(),
  source: z.strictObject({ microvmId: MicrovmId, hostId: HostId, epoch: z.int().positive() }),
  image: z.string(),
  vcpus: z.int(),
  memoryMiB: z.int(),
  /** The devices that its clones have. */
  devices: z.strictObject({
    network: z.boolean(),
    vsock: z.boolean(),
    balloon: z.boolean(),
    rng: z.boolean(),
    disks: z.int(),
  }),
  /** Hosts that can run its clones have the same; null until it is ready. */
  platform: SnapshotPlatform.nullable(),
  /** Of its manifest; null until it is ready. */
  digest: Digest.nullable(),
  /** Of its files, as they are on a disk; null until it is ready. */
  bytes: z.int().nonnegative().nullable(),
  /** For how long its source stood still; null until it is ready. */
  pauseMs: z.number().nonnegative().nullable(),
  /** Its data disks, by their place among them, in whose place a clone may have a fresh one: its guest does not use them. */
  unusedDisks: z.array(z.int().nonnegative()).default([]),
  /** Hosts that hold it. */
  hosts: z.array(HostId),
  /** Whether the object store has it, from which every host can fetch it. */
  stored: z.boolean().default(false),
  /** Why the object store does not have it yet, where that failed. */
  storeProblem: z.string().nullable().default(null),
  pool: PoolPolicy.nullable(),
  createdAt: Instant,
  updatedAt: Instant,
});
export type Template = z.output<typeof Template>;

/** A template as the controllers keep it: with the spec of its source. */
export const TemplateRecord = z.strictObject({ ...Template.shape, spec: MicrovmSpec });
export type TemplateRecord = z.output<typeof TemplateRecord>;

/** What a placement of clones of a template depends on. */
export function placesOfTemplate(template: Template): TemplatePlaces {
  const { id, state, hosts, stored, bytes, platform, image } = template;
  if (state !== 'ready') return { id, hosts: [] };
  return {
    ...{ id, hosts },
    ...(stored ? { fetchBytes: bytes ?? 0 } : {}),
    ...(platform ? { platform: findImage(image)?.bootProtocol === 'flat' ? withoutCpu(platform) : platform } : {}),
  };
}

/** Guests of our own boot protocol are shown no processor. */
function withoutCpu({ cpu: _, ...platform }: SnapshotPlatform): SnapshotPlatform {
  return platform;
}
