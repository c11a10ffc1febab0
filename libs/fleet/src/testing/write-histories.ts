import type { Journal } from '#journal';
import { microvmHistory, type MicrovmRecord } from '#protocol';

/** Puts records on their stream in the given order; tells the sequence of the last. */
export async function writeHistories(
  journal: Journal<MicrovmRecord>,
  records: readonly MicrovmRecord[],
): Promise<number> {
  let last = 0;
  // Sent one after the other on one connection, so stored in that order, without waiting for each.
  for (let i = 0; i < records.length; i += 256) {
    const appended = await Promise.all(
      records.slice(i, i + 256).map((record) =>
        journal.append(microvmHistory(record.microvmId), record, {
          commandId: record.commandId,
          expectedSequence: 'any',
        }),
      ),
    );
    last = appended.at(-1)!.sequence;
  }
  return last;
}
