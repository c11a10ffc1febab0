import { join } from 'node:path';
import {
  type BlobStore,
  blobOfFile,
  bytesOf,
  digestOfManifest,
  encodeManifest,
  ImageError,
  type ImageDirectory,
  type UploadStore,
} from '#images';
import {
  BUILTIN_IMAGES,
  type Image,
  type ImageManifest,
  type importImage,
  type KernelManifest,
  type LinuxManifest,
} from '#protocol';
import type { z } from 'zod';
import { importDebianKernel, importKernelFile, type ImportedKernel, type KernelOptions } from '../kernel/import-kernel';
import { importFromArchive, importFromRegistry, requireDigest } from '../oci/oci-image';
import type { WorkFolder } from '../programs/work-folder';
import { importDisk, importRootArchive } from '../root/disk';
import type { ImportedRoot } from '../root/imported-root';
import type { ImportContext } from './import-context';
import { withRoom } from './with-room';

export type ImportRequest = z.output<(typeof importImage)['request']>;

export interface ImporterOptions extends KernelOptions {
  /** Largest file that may come of an import, in bytes. */
  maxBytes: number;
  /** What an import leaves free on its disk for others, in bytes. */
  reserveBytes: number;
  /** How long a registry may be silent, in ms. */
  registryMs: number;
}

/** The kernel of images that name none; imported when first needed. */
export const DEFAULT_KERNEL = 'debian-kernel';
/** Environment and command of an image stand in every list of images. */
const MANIFEST_BYTES = 64 * 1024;
const MIB = 1 << 20;

/** Makes images of what is imported, and stores and names them. */
export class Importer {
  /** Two imports that need the default kernel wait for the same one. */
  #defaultKernel: Promise<KernelManifest> | undefined;

  constructor(
    private readonly parts: {
      work: WorkFolder;
      blobs: BlobStore;
      uploads: UploadStore;
      directory: ImageDirectory;
    },
    private readonly options: ImporterOptions,
  ) {}

  /** What can be said before anything is done. @throws ImageError */
  check({ name }: ImportRequest): void {
    if (BUILTIN_IMAGES.some((image) => image.name === name)) {
      throw new ImageError('notUnderstood', `${name} is the name of an image built with Volley; choose another`);
    }
  }

  /**
   * Does one import, from the source to the name. Until it is named nobody sees it, and what it stored by then is collected.
   *
   * @throws ImageError
   */
  async import(request: ImportRequest, how: Pick<ImportContext, 'signal' | 'say'>): Promise<Image> {
    const { manifest, source } = await this.#within(how, (context) => this.#manifestOf(request, context));
    const image = await this.#name(request.name, manifest, source);
    // Of a failed import it stays for another try, until it is an hour old.
    if (request.source.type === 'upload') await this.parts.uploads.remove(request.source.uploadId);
    return image;
  }

  #within<T>(how: Pick<ImportContext, 'signal' | 'say'>, work: (context: ImportContext) => Promise<T>): Promise<T> {
    const { maxBytes, reserveBytes, registryMs } = this.options;
    return this.parts.work.within((folder) =>
      withRoom(folder, reserveBytes, how.signal, (signal) => work({ ...how, signal, folder, maxBytes, registryMs })),
    );
  }

  async #manifestOf(
    request: ImportRequest,
    context: ImportContext,
  ): Promise<{ manifest: ImageManifest; source: string }> {
    const { source, expectedDigest } = request;
    if (source.type === 'debian-kernel') {
      if (expectedDigest !== undefined) {
        throw new ImageError(
          'notUnderstood',
          "a package is checked by its signature; upload it to check a file's digest",
        );
      }
      const kernel = await importDebianKernel(context, this.options, source.package);
      return { manifest: await this.#storeKernel(context, kernel), source: kernel.source };
    }
    if (source.type === 'upload' && source.format === 'kernel') {
      const file = await this.#fetchUpload(context, source);
      requireDigest(expectedDigest, [file.digest], file.title);
      const kernel = await importKernelFile(context, this.options, file);
      return { manifest: await this.#storeKernel(context, kernel), source: kernel.source };
    }
    const known = await this.#wholeKernel(request.kernel); // before the work: a wrong name should not cost it
    const root = await this.#root(request, context);
    const kernel = known ?? (await this.#theDefaultKernel(context));
    return { manifest: await this.#storeLinux(context, root, kernel), source: root.source };
  }

  async #root({ source, expectedDigest }: ImportRequest, context: ImportContext): Promise<ImportedRoot> {
    if (source.type === 'registry') return importFromRegistry(context, source, expectedDigest);
    if (source.type !== 'upload') throw new ImageError('notUnderstood', 'this source holds no root file system');
    const file = await this.#fetchUpload(context, source);
    if (source.format === 'oci-archive' || source.format === 'docker-archive') {
      return importFromArchive(context, source.format, file, expectedDigest);
    }
    requireDigest(expectedDigest, [file.digest], file.title);
    return source.format === 'disk' ? importDisk(context, file) : importRootArchive(context, file);
  }

  async #fetchUpload(
    context: ImportContext,
    { uploadId, filename, format }: Extract<ImportRequest['source'], { type: 'upload' }>,
  ): Promise<{ name: string; path: string; digest: string; title: string }> {
    const name = 'upload';
    const path = join(context.folder, name);
    context.say('taking the upload');
    const { digest } = await this.parts.uploads.fetch(uploadId, path, { signal: context.signal });
    return { name, path, digest, title: `${filename ?? format} (${digest})` };
  }

  #kernelNamed(name: string | undefined): KernelManifest | undefined {
    const image = this.parts.directory.get(name ?? DEFAULT_KERNEL);
    if (image?.manifest.kind === 'kernel') return image.manifest;
    if (name === undefined) return undefined;
    const kernels = this.parts.directory.list().filter(({ manifest }) => manifest.kind === 'kernel');
    const known = kernels.map((one) => one.name).join(', ') || 'none';
    throw new ImageError(
      'notUnderstood',
      `${name} is ${image ? 'an image, not a kernel' : 'not there'}; imported kernels: ${known}`,
    );
  }

  /** The kernel of that name. Undefined: the default one is not there, or not any more as it should be. @throws ImageError */
  async #wholeKernel(name: string | undefined): Promise<KernelManifest | undefined> {
    const kernel = this.#kernelNamed(name);
    for (const { digest } of kernel ? [kernel.vmlinux, kernel.initrd] : []) {
      if (await this.parts.blobs.isWhole(digest)) continue;
      if (name === undefined) return undefined;
      throw new ImageError(
        'corrupted',
        `the kernel ${name} is damaged in the image store (${digest}); import it again`,
      );
    }
    return kernel;
  }

  #theDefaultKernel(how: Pick<ImportContext, 'signal' | 'say'>): Promise<KernelManifest> {
    this.#defaultKernel ??= this.#importDefaultKernel(how).finally(() => (this.#defaultKernel = undefined));
    return this.#defaultKernel;
  }

  async #importDefaultKernel(how: Pick<ImportContext, 'signal' | 'say'>): Promise<KernelManifest> {
    const { manifest, source } = await this.#within(how, async (context) => {
      const kernel = await importDebianKernel(context, this.options, undefined);
      return { manifest: await this.#storeKernel(context, kernel), source: kernel.source };
    });
    await this.#name(DEFAULT_KERNEL, manifest, source);
    return manifest;
  }

  async #storeKernel(context: ImportContext, kernel: ImportedKernel): Promise<KernelManifest> {
    const { signal } = context;
    context.say(`storing the kernel ${kernel.release}`);
    const vmlinux = await this.parts.blobs.putFile(kernel.vmlinux, { signal });
    const initrd = await this.parts.blobs.putFile(kernel.initrd, { signal });
    const { release, modules } = kernel;
    return { schema: 1, kind: 'kernel', architecture: 'amd64', release, vmlinux, initrd, modules };
  }

  async #storeLinux(context: ImportContext, root: ImportedRoot, kernel: KernelManifest): Promise<LinuxManifest> {
    const { bytes } = await blobOfFile(root.path, context.signal);
    const onProgress = (stored: number): void =>
      context.say(`storing the root file system, ${Math.floor(stored / MIB)} of ${Math.ceil(bytes / MIB)} MiB`);
    const blob = await this.parts.blobs.putFile(root.path, { signal: context.signal, onProgress });
    const { type, run } = root;
    return {
      schema: 1,
      kind: 'linux',
      architecture: 'amd64',
      kernel,
      root: { type, blob },
      run,
      minMemoryMiB: leastMemoryMiB(kernel),
    };
  }

  async #name(name: string, manifest: ImageManifest, source: string): Promise<Image> {
    const encoded = encodeManifest(manifest);
    if (encoded.length > MANIFEST_BYTES) {
      throw new ImageError('tooLarge', `command and environment of the image take more than ${MANIFEST_BYTES} bytes`);
    }
    await this.parts.blobs.putBytes(encoded);
    const image: Image = {
      name,
      digest: digestOfManifest(manifest),
      manifest,
      bytes: bytesOf(manifest),
      source,
      createdAt: new Date().toISOString(),
    };
    await this.parts.directory.put(image);
    return image;
  }
}

/** With less than this a kernel does not come up: itself, its ram disk packed and unpacked, and what it needs to work. */
function leastMemoryMiB({ vmlinux, initrd }: KernelManifest): number {
  const bytes = vmlinux.bytes + 2 * initrd.bytes;
  return 16 * Math.ceil((bytes / MIB + 40) / 16);
}
