import { constants } from 'node:os';

/** Thrown when a configuration for init holds a value that cannot be said in it. */
export class InitConfigError extends Error {
  override readonly name = 'InitConfigError';
}

/** Thrown when the guest cannot be reached, or the connection to its agent breaks before all is said. */
export class GuestConnectionError extends Error {
  override readonly name = 'GuestConnectionError';
}

/** Thrown when what comes from the guest is not what its agent says. A guest is hostile, so this is no fault of ours. */
export class GuestProtocolError extends Error {
  override readonly name = 'GuestProtocolError';
}

/** Thrown when the guest's agent answers that it could not do what was asked; the message is the agent's sentence. */
export class GuestRefusedError extends Error {
  override readonly name = 'GuestRefusedError';
  constructor(
    /** Linux errno. */
    readonly errno: number,
    message: string,
  ) {
    super(message);
  }

  /** Such as `ENOENT`. */
  get code(): string {
    return Object.entries(constants.errno).find(([, number]) => number === this.errno)?.[0] ?? `errno ${this.errno}`;
  }
}

/** Thrown when a request cannot be said to the guest: it is too long, or not what a request can be. Nothing was sent. */
export class GuestRequestError extends Error {
  override readonly name = 'GuestRequestError';
}
