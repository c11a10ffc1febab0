import { execFileSync } from 'node:child_process';
import { realpathSync } from 'node:fs';
import type { ArchiveEntry } from '#cpio';

/**
 * A program of this machine and every shared library it needs, at the same paths, so that it runs in an emulated host:
 * `programFiles(process.execPath)` brings Node. Takes about as much of the host's memory as the files are large.
 *
 * Throws when `ldd` does not understand the program.
 */
export function programFiles(program: string): ArchiveEntry[] {
  const libraries = execFileSync('ldd', [program], { encoding: 'utf8', timeout: 30_000 })
    .split('\n')
    .map((line) => /(\/\S+) \(0x/.exec(line)?.[1])
    .filter((path) => path !== undefined);
  return [program, ...libraries].map((path) => ({ path, mode: 0o755, from: realpathSync(path) }));
}
