import { basename, dirname, join } from 'node:path';

/** The checkout this program lies in, whether it runs from `dist/apps/cli/src` or, in tests, from `apps/cli/src`. */
export function repositoryRoot(): string {
  const above = join(__dirname, '..', '..', '..');
  return basename(above) === 'dist' ? dirname(above) : above;
}
