import { createHash } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';

/** Files of the build that stand beside a `.sha256` of what they were built as: looked at again when they have changed. */
export class BuiltFiles {
  readonly #whole = new Map<string, string>();

  /** What is wrong with a file and what to do, if anything is. One without a digest beside it is taken as it is. */
  damageOf(path: string): string | undefined {
    const now = `${stamp(path)} ${stamp(`${path}.sha256`)}`;
    if (this.#whole.get(path) === now) return undefined;
    const remedy = 'build it anew: remove it, then ./volley build';
    let content: Buffer;
    let built: string | undefined;
    try {
      content = readFileSync(path);
      built = digestBeside(path);
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      // That this process may open no more files, say, is no fault of the file's.
      const isTheFile = code === 'ENOENT' || code === 'EISDIR' || code === 'EIO';
      return `${path} cannot be read (${message})${isTheFile ? `; ${remedy}` : ''}`;
    }
    const found = createHash('sha256').update(content).digest('hex');
    if (built !== undefined && found !== built) {
      return `${path} is damaged: its digest is sha256:${found}, it was built as sha256:${built}; ${remedy}`;
    }
    this.#whole.set(path, now);
    return undefined;
  }
}

function digestBeside(path: string): string | undefined {
  try {
    return /^[0-9a-f]{64}/.exec(readFileSync(`${path}.sha256`, 'latin1'))?.[0];
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Changes whenever somebody writes to the file, by whatever way. */
function stamp(path: string): string {
  try {
    const { ino, size, ctimeNs } = statSync(path, { bigint: true });
    return `${ino}.${size}.${ctimeNs}`;
  } catch {
    return 'none';
  }
}
