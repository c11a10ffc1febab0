import { canonicalJson, ImageManifest, type Blob, type KernelManifest } from '#protocol';
import { digestOf } from './digest';
import { ImageError } from './errors';

/** The bytes that a manifest's digest is taken of. */
export function encodeManifest(manifest: ImageManifest): Buffer {
  return Buffer.from(canonicalJson(manifest));
}

export function digestOfManifest(manifest: ImageManifest): string {
  return digestOf(encodeManifest(manifest));
}

/** @throws ImageError `corrupted` when it is none, or of a later version of Volley. */
export function decodeManifest(bytes: Uint8Array): ImageManifest {
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch {
    throw new ImageError('corrupted', 'this is not the manifest of an image');
  }
  const parsed = ImageManifest.safeParse(json);
  if (!parsed.success) {
    const { schema } = (json ?? {}) as { schema?: unknown };
    const later = typeof schema === 'number' && schema > 1 ? `; it is of schema ${schema}: update this host` : '';
    throw new ImageError('corrupted', `this is not the manifest of an image that is understood here${later}`);
  }
  return parsed.data;
}

/** Everything that a manifest names, beside itself. */
export function blobsOf(manifest: ImageManifest): Blob[] {
  const ofKernel = ({ vmlinux, initrd }: KernelManifest): Blob[] => [vmlinux, initrd];
  return manifest.kind === 'kernel' ? ofKernel(manifest) : [...ofKernel(manifest.kernel), manifest.root.blob];
}

export function bytesOf(manifest: ImageManifest): number {
  return blobsOf(manifest).reduce((sum, { bytes }) => sum + bytes, 0);
}
