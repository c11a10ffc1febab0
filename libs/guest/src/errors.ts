/** Thrown when a configuration for init holds a value that cannot be said in it. */
export class InitConfigError extends Error {
  override readonly name = 'InitConfigError';
}
