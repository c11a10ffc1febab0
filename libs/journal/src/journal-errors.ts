/** Base of every error that this library throws on purpose. */
export abstract class JournalError extends Error {}

/**
 * Thrown by {@link Journal.append} when the subject's last sequence is not the expected one: somebody else appended first.
 * Nothing was written. Reload the subject and decide again.
 */
export class SequenceConflictError extends JournalError {
  override readonly name = 'SequenceConflictError';
  constructor(
    readonly subject: string,
    readonly expectedSequence: number,
    /** The subject's real last sequence, when the server told it. */
    readonly actualSequence: number | undefined,
  ) {
    super(
      `${subject}: expected last sequence ${expectedSequence}, but it is ${actualSequence ?? 'another one'}; reload and decide again`,
    );
  }
}

/**
 * Thrown by every operation of the journal when JetStream did not answer within the deadline, has no room, or the connection
 * is closed. After an append that failed with `outcome: 'unknown'` the record may or may not be there: append it again with
 * the same command id, or read the subject, to find out.
 */
export class JournalUnavailableError extends JournalError {
  override readonly name = 'JournalUnavailableError';
  constructor(
    message: string,
    readonly outcome: 'notWritten' | 'unknown',
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** Thrown by {@link Journal.append} when a record is larger than the stream or the server takes. Nothing was written. */
export class RecordTooLargeError extends JournalError {
  override readonly name = 'RecordTooLargeError';
  constructor(
    readonly subject: string,
    readonly bytes: number,
    readonly maxBytes: number,
  ) {
    super(`${subject}: a record of ${bytes} bytes is larger than the ${maxBytes} bytes that the journal takes`);
  }
}

/**
 * Thrown by {@link Journal.open} when the stream on the server is not what was asked for: the server ignored an option (it is
 * older than the option), or a stream of that name exists with a setting that cannot be changed.
 */
export class StreamConfigError extends JournalError {
  override readonly name = 'StreamConfigError';
}

/**
 * Thrown by reads, and handed to a follower's `onFailure`, when a message on the journal's subjects is not a record: it is not
 * JSON, or the journal's `decode` refused it. Give `onUnreadable` to {@link Journal.open} to skip such messages instead.
 */
export class UnreadableRecordError extends JournalError {
  override readonly name = 'UnreadableRecordError';
  constructor(
    readonly subject: string,
    readonly sequence: number,
    options?: ErrorOptions,
  ) {
    super(`${subject}: message ${sequence} is not a record of this journal: ${String(options?.cause)}`, options);
  }
}

/**
 * Handed to a follower's `onFailure` when the stream no longer holds what the follower has already seen (the server lost its
 * last writes in a power cut, or the stream was replaced), or no longer holds what it still had to see. A projection built
 * from it is no longer a picture of the truth: throw it away and start again.
 */
export class HistoryLostError extends JournalError {
  override readonly name = 'HistoryLostError';
}
