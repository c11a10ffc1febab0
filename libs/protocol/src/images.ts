import { z } from 'zod';

/** An image every host has: built with Volley and found by name. */
export interface BuiltinImage {
  name: string;
  summary: string;
  bootProtocol: 'flat' | 'linux';
  irqchip: 'split' | 'full';
  maxVcpus: number;
  minMemoryMiB: number;
}

export const BUILTIN_IMAGES: readonly BuiltinImage[] = [
  {
    name: 'canary',
    summary: "Volley's own tiny guest: proves in milliseconds that a host runs microVMs, and makes load on request.",
    bootProtocol: 'flat',
    irqchip: 'split',
    maxVcpus: 1,
    minMemoryMiB: 4,
  },
];

export function findImage(name: string): BuiltinImage | undefined {
  return BUILTIN_IMAGES.find((image) => image.name === name);
}

export const Digest = z.string().regex(/^sha256:[0-9a-f]{64}$/, 'must be sha256: and 64 hexadecimal digits');
/** Name of an imported image, such as `alpine:3.20` or `team/worker`. */
export const ImageName = z
  .string()
  .regex(
    /^[a-z0-9][a-z0-9._/-]{0,126}(?::[a-zA-Z0-9_][a-zA-Z0-9._-]{0,62})?$/,
    'must be lower-case letters, digits, and . _ - /, with :tag behind it if wanted',
  );

/** Content in the image store, by digest. */
export const Blob = z.strictObject({ digest: Digest, bytes: z.int().nonnegative() });
export type Blob = z.infer<typeof Blob>;

/** A kernel ready to boot: a vmlinux, and an initial ram disk with Volley's init and the modules that an image needs to come up. */
export const KernelManifest = z.strictObject({
  schema: z.literal(1),
  kind: z.literal('kernel'),
  architecture: z.literal('amd64'),
  /** What `uname -r` says. */
  release: z.string(),
  vmlinux: Blob,
  initrd: Blob,
  /** Paths of modules in the initrd, in the order in which init loads them. */
  modules: z.array(z.string()),
});
export type KernelManifest = z.infer<typeof KernelManifest>;

/** What runs in a Linux image when nobody says otherwise, as an OCI image configuration has it. */
export const RunConfig = z.strictObject({
  entrypoint: z.array(z.string()),
  command: z.array(z.string()),
  env: z.array(z.string()),
  user: z.string(),
  workdir: z.string(),
});
export type RunConfig = z.infer<typeof RunConfig>;

/** A root file system with its kernel. Its digest, that of its canonical JSON, names the image for ever. */
export const LinuxManifest = z.strictObject({
  schema: z.literal(1),
  kind: z.literal('linux'),
  architecture: z.literal('amd64'),
  kernel: KernelManifest,
  root: z.strictObject({ type: z.enum(['squashfs', 'erofs', 'ext4']), blob: Blob }),
  run: RunConfig,
  minMemoryMiB: z.int().positive(),
});
export type LinuxManifest = z.infer<typeof LinuxManifest>;

export const ImageManifest = z.discriminatedUnion('kind', [KernelManifest, LinuxManifest]);
export type ImageManifest = z.infer<typeof ImageManifest>;

/** An imported image as every reader sees it. */
export const Image = z.strictObject({
  name: ImageName,
  /** Of the manifest. */
  digest: Digest,
  manifest: ImageManifest,
  /** Of all its blobs. */
  bytes: z.int().nonnegative(),
  /** Where it came from, without credentials. */
  source: z.string(),
  /** ISO 8601. */
  createdAt: z.string(),
});
export type Image = z.infer<typeof Image>;

export interface ImageReference {
  name: string;
  digest?: string;
}

/** Takes `name@sha256:…` apart. A reference without digest means whatever the name stands for at the moment. */
export function parseImageReference(text: string): ImageReference {
  const at = text.indexOf('@');
  return at < 0 ? { name: text } : { name: text.slice(0, at), digest: text.slice(at + 1) };
}

/** The text of a manifest that its digest is taken of: JSON with sorted keys and without blanks. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const entries = Object.entries(value).filter(([, field]) => field !== undefined);
  entries.sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, field]) => `${JSON.stringify(key)}:${canonicalJson(field)}`).join(',')}}`;
}
