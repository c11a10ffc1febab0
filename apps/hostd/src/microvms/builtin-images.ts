import { accessSync, constants } from 'node:fs';
import { findImage, wantedDevices, type MicrovmSpec } from '#protocol';
import { BuiltFiles } from './built-files';
import { ImageUnavailableError, type BootSource, type ImageStore } from './agent-context';

/** Paths of a built-in image's kernel: as small as it can be, and with drivers for guests that ask for devices. */
export interface BuiltinKernel {
  readonly kernel: string;
  readonly withDrivers: string;
}

/** The images built with Volley, as far as their files are on this host and its KVM can boot them. */
export class BuiltinImageStore implements ImageStore {
  readonly names: string[];
  readonly #checked = new BuiltFiles();

  constructor(
    /** By image name. */
    private readonly kernels: Readonly<Record<string, BuiltinKernel>>,
    /** Why nothing boots here at all, if so. */
    private readonly noKvm?: string,
  ) {
    this.names = noKvm === undefined ? Object.keys(kernels).filter((name) => isReadable(kernels[name]!.kernel)) : [];
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
    if (wantsDevices(spec)) {
      const { withDrivers } = this.kernels[spec.image]!;
      if (!isReadable(withDrivers)) return `image ${image.name} has no devices on this host: ${withDrivers} is missing`;
      if (spec.memoryMiB < DRIVERS_MIN_MIB) {
        return `image ${image.name} with devices needs at least ${DRIVERS_MIN_MIB} MiB, ${spec.memoryMiB} were asked for`;
      }
    }
    return undefined;
  }

  resolve(spec: MicrovmSpec): Promise<BootSource> {
    const refused = this.refuses(spec);
    if (refused !== undefined) return Promise.reject(new ImageUnavailableError(refused));
    const { bootProtocol, irqchip } = findImage(spec.image)!;
    const { kernel, withDrivers } = this.kernels[spec.image]!;
    const kernelPath = wantsDevices(spec) ? withDrivers : kernel;
    const damage = this.#checked.damageOf(kernelPath);
    if (damage !== undefined) return Promise.reject(new ImageUnavailableError(`image ${spec.image}: ${damage}`));
    return Promise.resolve({ kernelPath, bootProtocol, irqchip });
  }
}

/** The drivers keep their queues in the fourth MiB. */
const DRIVERS_MIN_MIB = 4;

function wantsDevices(spec: MicrovmSpec): boolean {
  const { network, vsock, balloon, rng } = wantedDevices(spec);
  return network !== undefined || vsock || balloon || rng || (spec.disks?.length ?? 0) > 0;
}

function isReadable(path: string): boolean {
  try {
    accessSync(path, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}
