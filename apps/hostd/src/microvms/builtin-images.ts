import { accessSync, constants } from 'node:fs';
import { findImage, type MicrovmSpec } from '#protocol';
import { ImageUnavailableError, type BootSource, type ImageStore } from './agent-context';

/** The images built with Volley, as far as their files are on this host and its KVM can boot them. */
export class BuiltinImageStore implements ImageStore {
  readonly names: string[];

  constructor(
    /** Image name -> path of its kernel. */
    private readonly kernels: Readonly<Record<string, string>>,
    /** Why nothing boots here at all, if so. */
    private readonly noKvm?: string,
  ) {
    this.names = noKvm === undefined ? Object.keys(kernels).filter((name) => isReadable(kernels[name]!)) : [];
  }

  refuses(spec: MicrovmSpec): string | undefined {
    if (this.noKvm !== undefined) return `this host cannot run microVMs: ${this.noKvm}`;
    const image = findImage(spec.image);
    if (!image || !this.names.includes(spec.image)) {
      return `image ${JSON.stringify(spec.image)} is not on this host; it has ${this.names.join(', ') || 'none'}`;
    }
    if (spec.vcpus > image.maxVcpus) {
      return `image ${image.name} boots with at most ${image.maxVcpus} vCPU, ${spec.vcpus} were asked for`;
    }
    if (spec.memoryMiB < image.minMemoryMiB) {
      return `image ${image.name} needs at least ${image.minMemoryMiB} MiB, ${spec.memoryMiB} were asked for`;
    }
    return undefined;
  }

  resolve(spec: MicrovmSpec): Promise<BootSource> {
    const refused = this.refuses(spec);
    if (refused !== undefined) return Promise.reject(new ImageUnavailableError(refused));
    const { bootProtocol, irqchip } = findImage(spec.image)!;
    return Promise.resolve({ kernelPath: this.kernels[spec.image]!, bootProtocol, irqchip });
  }
}

function isReadable(path: string): boolean {
  try {
    accessSync(path, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}
