/** One entry of an initial ram file system. Paths are absolute inside it; missing parent folders are made. */
export type ArchiveEntry = ArchiveFile | ArchiveLink | ArchiveFolder | ArchiveDevice;

/** A regular file, either copied `from` a file of this machine or with the given `content`. */
export type ArchiveFile = {
  readonly path: string;
  /** Permission bits; 0o644 unless told. */
  readonly mode?: number;
} & ({ readonly from: string } | { readonly content: string | Uint8Array });

/** A symbolic link. */
export interface ArchiveLink {
  readonly path: string;
  readonly linkTo: string;
}

export interface ArchiveFolder {
  readonly path: string;
  readonly folder: true;
  /** Permission bits; 0o755 unless told. */
  readonly mode?: number;
}

/** The kernel opens `/dev/console` (5, 1) for the first process before anything is mounted. */
export interface ArchiveDevice {
  readonly path: string;
  readonly characterDevice: { readonly major: number; readonly minor: number };
}
