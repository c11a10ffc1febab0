import { createHash, timingSafeEqual } from 'node:crypto';
import { open } from 'node:fs/promises';

/** Thrown when the token file is missing, readable by others, or holds no usable token. */
export class TokenFileError extends Error {
  override readonly name = 'TokenFileError';
}

/** The one secret that lets an operator in. Only its digest is kept. */
export class OperatorToken {
  private constructor(private readonly digest: Buffer) {}

  /** @throws TokenFileError when the text is no usable token. */
  static of(text: string): OperatorToken {
    const token = text.trim();
    if (!/^[\x21-\x7e]{16,512}$/.test(token)) {
      throw new TokenFileError('the operator token must be 16 to 512 visible ASCII characters on one line');
    }
    return new OperatorToken(digestOf(token));
  }

  /** @throws TokenFileError */
  static async fromFile(path: string): Promise<OperatorToken> {
    // One descriptor for both questions, so that the file that was checked is the file that is read.
    const file = await open(path, 'r').catch((error: unknown) => {
      throw new TokenFileError(
        `cannot read the operator token: ${error instanceof Error ? error.message : String(error)}`,
      );
    });
    try {
      const { mode } = await file.stat();
      if (mode & 0o077) {
        const shown = (mode & 0o777).toString(8).padStart(4, '0');
        throw new TokenFileError(
          `${path} has mode ${shown}: others can read the operator token; run: chmod 600 ${path}`,
        );
      }
      return OperatorToken.of(await file.readFile('utf8'));
    } finally {
      await file.close();
    }
  }

  /** Takes as long for a wrong token as for the right one. */
  matches(candidate: string): boolean {
    return timingSafeEqual(digestOf(candidate), this.digest);
  }
}

function digestOf(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}
