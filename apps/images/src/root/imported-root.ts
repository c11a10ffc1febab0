import type { LinuxManifest, RunConfig } from '#protocol';

/** A root file system that an import has made, as a file in its folder. */
export interface ImportedRoot {
  type: LinuxManifest['root']['type'];
  path: string;
  run: RunConfig;
  /** Where it came from, without credentials. */
  source: string;
}
