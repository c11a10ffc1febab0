import { z } from 'zod';
import { ImageError } from '#images';
import type { RunConfig } from '#protocol';

const Descriptor = z.looseObject({
  mediaType: z.string().optional(),
  digest: z.string().regex(/^sha256:[0-9a-f]{64}$/),
  size: z.number().optional(),
  platform: z.looseObject({ architecture: z.string(), os: z.string(), variant: z.string().optional() }).nullish(),
});
const Index = z.looseObject({ manifests: z.array(Descriptor) });
const Manifest = z.looseObject({ config: Descriptor, layers: z.array(Descriptor) });

const Words = z.array(z.string()).nullish();
const ConfigDocument = z.looseObject({
  architecture: z.string(),
  os: z.string(),
  config: z
    .looseObject({
      Entrypoint: Words,
      Cmd: Words,
      Env: Words,
      User: z.string().nullish(),
      WorkingDir: z.string().nullish(),
    })
    .nullish(),
});

export type RawManifest =
  | { kind: 'index'; platforms: { name: string; digest: string }[] }
  | { kind: 'manifest'; layers: number; layerBytes: number };

/** What a registry answers for a reference: one image, or a choice of them. @throws ImageError `corrupted` */
export function readRawManifest(text: string): RawManifest {
  const json = parse(text, 'the manifest');
  const index = Index.safeParse(json);
  if (index.success) {
    const platforms = index.data.manifests
      // Attestations and the like are listed as images of an unknown platform.
      .filter(({ platform }) => platform && platform.os !== 'unknown')
      .map(({ platform, digest }) => ({ name: `${platform!.os}/${platform!.architecture}`, digest }));
    return { kind: 'index', platforms };
  }
  const manifest = Manifest.safeParse(json);
  if (manifest.success) {
    const { layers } = manifest.data;
    return { kind: 'manifest', layers: layers.length, layerBytes: layers.reduce((sum, { size = 0 }) => sum + size, 0) };
  }
  const { schemaVersion } = json as { schemaVersion?: unknown };
  if (schemaVersion === 1) {
    throw new ImageError('notUnderstood', 'the image has a manifest of the old schema 1; build and push it again');
  }
  throw new ImageError('corrupted', 'what the registry has there is no image');
}

/** The image for the only platform that microVMs have. @throws ImageError `wrongArchitecture`, listing what there is. */
export function chooseLinuxAmd64(platforms: readonly { name: string; digest: string }[]): string {
  const chosen = platforms.find(({ name }) => name === 'linux/amd64');
  if (chosen) return chosen.digest;
  const names = [...new Set(platforms.map(({ name }) => name))].join(', ');
  throw new ImageError(
    'wrongArchitecture',
    `the image is not there for linux/amd64, which is what microVMs run${names === '' ? '' : `; it is there for ${names}`}`,
  );
}

/** What programs use when an image says nothing about it. */
export const DEFAULT_PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** What runs in an image, of its configuration. @throws ImageError `corrupted` or `wrongArchitecture` */
export function readRunConfig(text: string): RunConfig {
  const parsed = ConfigDocument.safeParse(parse(text, 'the configuration'));
  if (!parsed.success) throw new ImageError('corrupted', 'the configuration of the image cannot be read');
  const { architecture, os, config } = parsed.data;
  if (os !== 'linux' || architecture !== 'amd64') {
    throw new ImageError(
      'wrongArchitecture',
      `the image is for ${os}/${architecture}; microVMs run linux/amd64: build it for that`,
    );
  }
  const env = config?.Env ?? [];
  return {
    entrypoint: config?.Entrypoint ?? [],
    command: config?.Cmd ?? [],
    env: env.some((variable) => variable.startsWith('PATH=')) ? env : [DEFAULT_PATH, ...env],
    user: config?.User ?? '',
    workdir: config?.WorkingDir ?? '',
  };
}

function parse(text: string, what: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new ImageError('corrupted', `${what} of the image cannot be read`);
  }
}
