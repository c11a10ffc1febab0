import { GuestConnectionError, GuestProtocolError, GuestRefusedError, GuestRequestError } from '#guest';
import { OperationError, type ErrorCode, type SessionEnd } from '#protocol';

/** How a session ends that went wrong, in words of the bus. */
export function failedEnd(error: unknown): SessionEnd {
  return { error: sessionError(error).toBody() };
}

export function sessionError(error: unknown): OperationError {
  if (error instanceof OperationError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new OperationError(codeOf(error), message.slice(0, 1_000));
}

function codeOf(error: unknown): ErrorCode {
  if (error instanceof GuestRefusedError) return error.code === 'ENOENT' ? 'notFound' : 'refused';
  if (error instanceof GuestConnectionError) return 'unavailable';
  if (error instanceof GuestRequestError) return 'invalid';
  // A guest that breaks the protocol is broken or hostile; either way nothing of ours is.
  if (error instanceof GuestProtocolError) return 'refused';
  return 'internal';
}
