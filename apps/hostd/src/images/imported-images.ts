import { ImageError } from '#images';
import { findImage, parseImageReference, type MicrovmSpec } from '#protocol';
import { ImageUnavailableError, type BootSource, type ImageStore } from '../microvms/agent-context';
import type { ImageCache } from './image-cache';

/** Imported images as far as this host can boot them: named with their digest, as the controller pins them. */
export class ImportedImageStore implements ImageStore {
  readonly names: string[] = [];

  constructor(
    private readonly cache: ImageCache,
    /** Why stock Linux does not boot here, if so. */
    private readonly noLinux?: string,
  ) {}

  refuses(spec: MicrovmSpec): string | undefined {
    if (this.noLinux !== undefined) return `this host cannot boot imported images: ${this.noLinux}`;
    const { digest } = parseImageReference(spec.image);
    if (digest === undefined) return `image ${JSON.stringify(spec.image)} is not named with its digest`;
    return undefined;
  }

  async resolve(spec: MicrovmSpec, signal: AbortSignal): Promise<BootSource> {
    const refused = this.refuses(spec);
    if (refused !== undefined) throw new ImageUnavailableError(refused);
    const { name, digest } = parseImageReference(spec.image);
    try {
      const { manifest, pathOf } = await this.cache.ensure(digest!, signal);
      if (manifest.kind !== 'linux') throw new ImageUnavailableError(`${name} is a kernel; it cannot be run by itself`);
      if (spec.memoryMiB < manifest.minMemoryMiB) {
        throw new ImageUnavailableError(
          `image ${name} needs at least ${manifest.minMemoryMiB} MiB, ${spec.memoryMiB} were asked for`,
        );
      }
      const { kernel, root, run } = manifest;
      return {
        kernelPath: pathOf(kernel.vmlinux),
        initrdPath: pathOf(kernel.initrd),
        bootProtocol: 'linux',
        irqchip: 'full',
        linux: {
          root: { path: pathOf(root.blob), sizeBytes: root.blob.bytes, type: root.type },
          modules: kernel.modules,
          run,
        },
      };
    } catch (error) {
      if (error instanceof ImageError) throw new ImageUnavailableError(`image ${name}: ${error.message}`);
      throw error;
    }
  }
}

/** Built-in and imported images, each where it belongs. */
export class HostImageStore implements ImageStore {
  constructor(
    private readonly builtin: ImageStore,
    private readonly imported: ImageStore,
  ) {}

  get names(): string[] {
    return this.builtin.names;
  }

  refuses(spec: MicrovmSpec): string | undefined {
    return this.#storeOf(spec).refuses(spec);
  }

  resolve(spec: MicrovmSpec, signal: AbortSignal): Promise<BootSource> {
    return this.#storeOf(spec).resolve(spec, signal);
  }

  #storeOf(spec: MicrovmSpec): ImageStore {
    return findImage(spec.image) || parseImageReference(spec.image).digest === undefined ? this.builtin : this.imported;
  }
}
