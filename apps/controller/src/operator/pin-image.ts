import {
  BUILTIN_IMAGES,
  Digest,
  findImage,
  ImageName,
  OperationError,
  parseImageReference,
  type BuiltinImage,
  type ImageManifest,
  type MicrovmSpec,
} from '#protocol';

export interface ImportedImages {
  /** Of images that can be run. */
  names(): string[];
  named(name: string): Promise<{ digest: string; manifest: ImageManifest } | undefined>;
  withDigest(digest: string): Promise<ImageManifest | undefined>;
}

/** What only an image with Linux and Volley's init in it can do something with. */
const LINUX_ONLY = ['entrypoint', 'command', 'env', 'user', 'workdir', 'hostname', 'rootDiskMiB', 'rootLimit'] as const;
/** Names of images that an error lists. */
const LISTED = 20;

/**
 * Makes sure that the image of a spec is there and can run it, and pins its content: a name may stand for something else tomorrow, a
 * microVM runs the same until it is deleted.
 *
 * @throws OperationError `invalid`, with the field that is wrong.
 */
export async function pinImage(spec: MicrovmSpec, images: ImportedImages): Promise<MicrovmSpec> {
  const builtin = findImage(spec.image);
  if (builtin) {
    checkBuiltin(spec, builtin);
    return spec;
  }
  const { name, digest } = parseImageReference(spec.image);
  if (!ImageName.safeParse(name).success || (digest !== undefined && !Digest.safeParse(digest).success)) {
    throw invalid('image', `${JSON.stringify(spec.image)} is not of the form NAME:TAG or NAME:TAG@sha256:DIGEST`);
  }
  const found = await find(name, digest, images);
  const { manifest } = found;
  if (manifest.kind !== 'linux') {
    throw invalid('image', `${name} is a kernel, which cannot be run by itself; run an image, which has one in it`);
  }
  if (spec.memoryMiB < manifest.minMemoryMiB) {
    throw invalid('memoryMiB', `image ${name} needs at least ${manifest.minMemoryMiB}`);
  }
  return { ...spec, image: `${name}@${found.digest}` };
}

async function find(
  name: string,
  digest: string | undefined,
  images: ImportedImages,
): Promise<{ digest: string; manifest: ImageManifest }> {
  const named = await images.named(name);
  if (named && (digest === undefined || named.digest === digest)) return named;
  if (digest === undefined) {
    const all = [...BUILTIN_IMAGES.map((one) => one.name), ...images.names()];
    const more = all.length > LISTED ? `, and ${all.length - LISTED} more` : '';
    throw invalid(
      'image',
      `there is no image ${JSON.stringify(name)}; there are: ${all.slice(0, LISTED).join(', ')}${more}`,
    );
  }
  const manifest = await images.withDigest(digest);
  if (manifest) return { digest, manifest };
  const instead = named ? `; ${name} is ${named.digest} now` : '';
  throw invalid('image', `there is no image with the digest ${digest}${instead}`);
}

function checkBuiltin(spec: MicrovmSpec, image: BuiltinImage): void {
  if (spec.vcpus > image.maxVcpus) throw invalid('vcpus', `image ${image.name} takes at most ${image.maxVcpus}`);
  if (spec.memoryMiB < image.minMemoryMiB)
    throw invalid('memoryMiB', `image ${image.name} needs at least ${image.minMemoryMiB}`);
  const given = LINUX_ONLY.filter((field) => spec[field] !== undefined);
  const mounts = (spec.disks ?? []).flatMap(({ mount }, i) => (mount === undefined ? [] : [`disks.${i}.mount`]));
  const wrong = [...given, ...mounts];
  if (wrong.length === 0) return;
  const message = `means nothing to ${image.name}, which is no Linux; use an imported image (volley image import), or leave it out`;
  throw new OperationError(
    'invalid',
    `${wrong.join(', ')}: ${message}`,
    wrong.map((path) => ({ path, message })),
  );
}

function invalid(path: string, message: string): OperationError {
  return new OperationError('invalid', message, [{ path, message }]);
}
