import { wantedDevices, type MicrovmSpec, type RateLimit } from '#protocol';

/** One writable disk of a microVM. */
export interface PlannedDisk {
  /** Of its files in the microVM's folder. */
  name: string;
  sizeMiB: number;
  /** With an ext4 file system on it, when it is new. */
  formatted: boolean;
  /** Where a Linux guest mounts it. */
  mount?: string;
  limit?: RateLimit;
  /** Of a clone: it is not the one of its template. */
  fresh?: true;
}

/** The writable layer of a Linux image when its spec does not say: sparse, so it takes what is written and no more. */
export const ROOT_DISK_MIB = 1_024;

export interface DiskPlan {
  /** The writable layer over a Linux image's root file system. */
  overlay?: PlannedDisk;
  data: PlannedDisk[];
}

/** Which disks a spec asks for. Pure. */
export function planDisks(spec: MicrovmSpec, isLinux: boolean): DiskPlan {
  const { rootDiskMiB = ROOT_DISK_MIB, rootLimit, disks = [] } = spec;
  return {
    ...(isLinux ? { overlay: { name: 'root', sizeMiB: rootDiskMiB, formatted: true, ...limited(rootLimit) } } : {}),
    data: disks.map(({ sizeMiB, mount, limit, fresh }, index) => ({
      name: `disk${index}`,
      sizeMiB,
      formatted: mount !== undefined || fresh === 'ext4',
      ...(fresh === undefined ? {} : { fresh: true as const }),
      ...(mount === undefined ? {} : { mount }),
      ...limited(limit),
    })),
  };
}

/** Whether something of this microVM outlasts its incarnations. */
export function keepsDisks(spec: MicrovmSpec): boolean {
  return (spec.disks?.length ?? 0) > 0 || spec.rootDiskMiB !== undefined || isLinuxSpec(spec);
}

/** The largest file that a microVM with these disks can have its host write, in bytes: a disk and what its format adds, or a snapshot. */
export function largestFileBytes({ overlay, data }: DiskPlan, memoryMiB: number): number {
  const largest = Math.max(memoryMiB, ...data.map(({ sizeMiB }) => sizeMiB), overlay?.sizeMiB ?? 0);
  return Math.ceil(largest * 1.01 + 64) * 1024 * 1024;
}

/** What has all devices unless told otherwise is a Linux image. */
function isLinuxSpec(spec: MicrovmSpec): boolean {
  return wantedDevices({ image: spec.image } as MicrovmSpec).rng;
}

const limited = (limit: RateLimit | undefined): { limit?: RateLimit } => (limit === undefined ? {} : { limit });
