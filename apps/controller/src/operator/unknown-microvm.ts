import { OperationError } from '#protocol';

/** For whoever asks about a microVM that has no history. */
export function unknownMicrovm(id: string): OperationError {
  return new OperationError('notFound', `there is no microVM ${id}`);
}
