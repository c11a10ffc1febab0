import { join } from 'node:path';

/** The checkout this program was built in: five folders above `dist/apps/cli/src`. */
export function repositoryRoot(): string {
  return join(__dirname, '..', '..', '..', '..');
}
