import { CliError } from '../errors';
import { ExitCode } from '../exit-code';

/** One end of a copy. */
export type CopyPlace =
  { kind: 'stream' } | { kind: 'local'; path: string } | { kind: 'guest'; name: string; path: string };

/** Reads `-`, `ID:/path` or a local path. What has a slash before its colon is local, as for scp: `./a:b`. */
export function parsePlace(text: string): CopyPlace {
  if (text === '-') return { kind: 'stream' };
  const colon = text.indexOf(':');
  if (colon < 1 || text.slice(0, colon).includes('/')) return { kind: 'local', path: text };
  const path = text.slice(colon + 1);
  if (!path.startsWith('/')) {
    throw new CliError(
      `${text}: a path in a guest must be absolute, such as ${text.slice(0, colon)}:/${path}`,
      ExitCode.usage,
    );
  }
  return { kind: 'guest', name: text.slice(0, colon), path };
}
