import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';

/** Thrown when a secret cannot be read, or others than its owner can read it, too; the message says what to do. */
export class SecretFileError extends Error {
  override readonly name = 'SecretFileError';
}

/** The text of a file that only its owner may read. @throws SecretFileError */
export function readSecretFile(path: string): string {
  let descriptor: number;
  try {
    descriptor = openSync(path, 'r');
  } catch (error) {
    throw new SecretFileError(`a secret cannot be read: ${(error as Error).message}`);
  }
  try {
    // One descriptor for both questions, so that the file that was checked is the file that is read.
    const { mode } = fstatSync(descriptor);
    if (mode & 0o077) {
      const shown = (mode & 0o777).toString(8).padStart(4, '0');
      throw new SecretFileError(`${path} has mode ${shown}: others can read the secret; run: chmod 600 ${path}`);
    }
    return readFileSync(descriptor, 'utf8').trim();
  } finally {
    closeSync(descriptor);
  }
}
