import { join } from 'node:path';
import { z } from 'zod';
import { natsSettings } from '#bus';

/** The repository or installation folder: what paths of built files start from. Same depth in source and build. */
const INSTALLATION = join(__dirname, '..', '..', '..');
const ROOT = INSTALLATION.endsWith('/dist') ? join(INSTALLATION, '..') : INSTALLATION;

const count = z.coerce.number().int().positive();

/** Settings of the image service, each from a flag or from the environment. */
export const ImagesConfig = z.object({
  ...natsSettings,
  /** Where imports work: room for an image as it is fetched, unpacked and packed again. */
  imagesDir: z.string().min(1).default('/var/lib/volley/images'),
  /** Volley's init for Linux guests. */
  guestInitPath: z.string().default(join(ROOT, 'native/build/guest/init')),
  /** Where Debian's kernels are kept once they are fetched. Default: in the folder of imports. */
  kernelCacheDir: z.string().optional(),
  importsAtOnce: count.default(2),
  /** Largest root file system. */
  maxImageMib: count.default(65_536),
  /** What imports leave free on their disk for others. */
  imagesReserveMib: z.coerce.number().int().nonnegative().default(512),
  /** How long a registry may be silent. */
  registrySilenceS: count.default(60),
  /** What the content of templates may take of the object store. */
  templateStoreMib: count.default(20_480),
  logLevel: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal']).default('info'),
});
export type ImagesConfig = z.output<typeof ImagesConfig>;
