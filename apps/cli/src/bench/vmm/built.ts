import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { CliError } from '../../errors';

/** The path of what the native build makes. @throws CliError when it is not made yet. */
export function built(root: string, file: string): string {
  const path = join(root, file);
  if (!existsSync(path)) throw new CliError(`${path} is missing; run: npm run build:native`);
  return path;
}
