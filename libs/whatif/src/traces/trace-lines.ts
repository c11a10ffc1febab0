/** What was read of a file, and what was not. */
export interface TraceTally {
  lines: number;
  /** Lines that are no row of this form. */
  bad: number;
  /** The first few of them, with why. */
  examples: { line: number; reason: string }[];
}

const MOST_EXAMPLES = 5;

/** Thrown by the reader of a row when it is none; counted by {@link readRow}. */
export class BadRow extends Error {
  override readonly name = 'BadRow';
}

export const newTally = (): TraceTally => ({ lines: 0, bad: 0, examples: [] });

/** Reads one line of a CSV file, or counts it as bad. None of the published forms has quotes or commas within a field. */
export function readRow(tally: TraceTally, line: string, read: (fields: string[]) => void): void {
  tally.lines++;
  if (line === '') return;
  try {
    read(line.split(','));
  } catch (error) {
    if (!(error instanceof BadRow)) throw error;
    tally.bad++;
    if (tally.examples.length < MOST_EXAMPLES) tally.examples.push({ line: tally.lines, reason: error.message });
  }
}

/** A number in a field that must hold one, of at least `least`. */
export function numberIn(fields: readonly string[], at: number, name: string, least = 0): number {
  const text = fields[at]?.trim() ?? '';
  const value = Number(text);
  if (text === '' || !Number.isFinite(value) || value < least) {
    throw new BadRow(`${name} (field ${at + 1}) is ${JSON.stringify(text)}, not a number of at least ${least}`);
  }
  return value;
}

/** A text in a field that must hold one. */
export function textIn(fields: readonly string[], at: number, name: string): string {
  const text = fields[at]?.trim() ?? '';
  if (text === '') throw new BadRow(`${name} (field ${at + 1}) is missing`);
  return text;
}
