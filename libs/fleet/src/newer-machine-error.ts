import { JournalError } from '#journal';

/**
 * Thrown to whoever reads a history with a record of a newer machine than this program knows: it would read it wrongly, so it must
 * end instead. While replicas of several versions share a fleet nothing is written that the oldest could not read; this is for
 * an older one that is started afterwards.
 */
export class NewerMachineError extends JournalError {
  override readonly name = 'NewerMachineError';
  constructor(
    readonly subject: string,
    readonly machine: number,
    readonly known: number,
  ) {
    super(
      `${subject} holds a record of machine ${machine}, and this program knows machines up to ${known}: install the version of Volley that the other services run`,
    );
  }
}
