/** Thrown when a machine is given an event that its state does not accept; the caller decides whether that is a conflict or a stale fact. */
export class EventRefusedError extends Error {
  override readonly name = 'EventRefusedError';
  constructor(
    readonly eventType: string,
    readonly state: string,
  ) {
    super(`${eventType} is not accepted in state ${state}`);
  }
}

/** Thrown while folding when a stored history is not a path of the machine: a bug or a foreign writer, never to be ignored. */
export class IllegalHistoryError extends Error {
  override readonly name = 'IllegalHistoryError';
}
