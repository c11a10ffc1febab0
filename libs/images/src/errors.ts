import { OperationError, type ErrorCode } from '#protocol';

/** Everything that can be wrong with getting, keeping or giving out the content of images, and the code it is answered with. */
const CODES = {
  /** The content is not the one that was asked for. */
  wrongDigest: 'invalid',
  /** An archive, a layer or a file system that cannot be read. */
  corrupted: 'invalid',
  /** A file that is none of the kinds that are taken, or lacks what is needed. */
  notUnderstood: 'invalid',
  wrongArchitecture: 'unsupported',
  /** The registry does not answer, or not as one. */
  registryAway: 'unavailable',
  /** The registry wants other credentials. */
  registryRefused: 'unauthorized',
  noSuchImage: 'notFound',
  /** No room, here or in the image store. */
  noSpace: 'refused',
  tooLarge: 'refused',
  /** A program that this machine lacks, or a right that this process lacks. */
  cannot: 'unsupported',
  /** The image store does not answer, or does not hold what it should. */
  storeAway: 'unavailable',
  contentGone: 'notFound',
  cancelled: 'unavailable',
  timeout: 'timeout',
} as const satisfies Record<string, ErrorCode>;

export type ImageFailure = keyof typeof CODES;

/** Thrown by everything that handles the content of images; its message says what is wrong and what to do. */
export class ImageError extends OperationError {
  constructor(
    readonly failure: ImageFailure,
    message: string,
  ) {
    super(CODES[failure], message);
  }
}

/** Makes an {@link ImageError} of what the system said when a file could not be written; other errors stay as they are. */
export function explained(error: unknown, doing: string): unknown {
  if (error instanceof OperationError) return error;
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new ImageError('noSpace', `no room on the disk while ${doing}; free some and try again`);
  }
  if (code === 'ABORT_ERR') return new ImageError('cancelled', `given up while ${doing}`);
  return typeof code === 'string' ? new Error(`${doing}: ${message}`, { cause: error }) : error;
}
