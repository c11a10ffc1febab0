/** A record of a microVM's history of which only that was looked at by which histories are sorted. */
export interface StoredMicrovmRecord {
  readonly microvmId: string;
  /** ms since 1970. */
  readonly at: number;
  readonly from: string | null;
  readonly to: string;
}

/** @throws TypeError when it cannot be a record. */
export function storedMicrovmRecordOf(json: unknown): StoredMicrovmRecord {
  const record = json as StoredMicrovmRecord | null;
  if (
    typeof record !== 'object' ||
    record === null ||
    typeof record.microvmId !== 'string' ||
    typeof record.at !== 'number' ||
    typeof record.to !== 'string'
  ) {
    throw new TypeError('not a record of a microVM');
  }
  return record;
}
