import { execFileSync } from 'node:child_process';
import { findProgram } from '#emulated-host';

/** The first line of what a program, by name or path, says of its version; null when it says nothing. */
export function programVersion(program: string): string | null {
  try {
    const path = program.includes('/') ? program : (findProgram(program) ?? program);
    return execFileSync(path, ['--version'], { encoding: 'utf8', timeout: 10_000 }).split('\n')[0]!.trim();
  } catch {
    return null;
  }
}
