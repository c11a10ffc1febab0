import type { ArchiveEntry } from '#cpio';
import type { EmulatedDisk } from './qemu-arguments';

/** A host that runs one script and powers off. */
export interface EmulatedHostOptions {
  /** Put into the host's root file system beside busybox, which offers all its commands. */
  readonly files?: readonly ArchiveEntry[];
  /** Run by `sh` as root once `/dev/kvm` is there, with its output on the console. The host powers off after it. */
  readonly script: string;
  readonly memoryMiB: number;
  /** Processors of the host; 1 unless told. */
  readonly cpus?: number;
  /** Kernel modules to load beyond KVM's, such as `tun`; what they depend on comes along. */
  readonly modules?: readonly string[];
  /**
   * Gives the host a network card, configured, behind which it reaches the services of this machine's loopback
   * interface at {@link THIS_MACHINE}. Nothing reaches the host from outside.
   */
  readonly network?: boolean;
  /** Disks: `/dev/vda`, `/dev/vdb`, ... */
  readonly disks?: readonly EmulatedDisk[];
  /** The host is killed when it is older than this, whatever becomes of the test; 10 minutes unless told. */
  readonly lifetimeMs?: number;
}
