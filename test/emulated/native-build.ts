import { existsSync } from 'node:fs';
import { join } from 'node:path';

/** The programs of our native build that an emulated host is given. All are static: they need nothing else in there. */
export interface NativeBuild {
  readonly vmm: string;
  /** Starts one VMM by hand and prints how it ended. */
  readonly run: string;
  readonly canary: string;
}

/** Where they are, or a sentence saying what is missing and how to build it. */
export function findNativeBuild(): NativeBuild | string {
  const folder = process.env.VOLLEY_NATIVE_BUILD ?? join(__dirname, '../../native/build');
  const build = {
    vmm: join(folder, 'vmm/volley-vmm'),
    run: join(folder, 'vmm/volley-run'),
    canary: join(folder, 'guest/canary.bin'),
  };
  const missing = Object.values(build).find((file) => !existsSync(file));
  return missing === undefined ? build : `${missing} is missing; run \`npm run build:native\``;
}
