import { readFileSync } from 'node:fs';
import { crc32 } from 'node:zlib';

/** What the checkers look at in a record of a host's journal; everything else is left alone. */
export interface JournalRecord {
  at: number;
  change?: {
    type: string;
    microvmId: string;
    epoch: number;
    spec?: { vcpus: number; memoryMiB: number; tenant: string };
    slot?: number;
    identity?: { pid: number };
    upTo?: number;
  };
  snapshot?: {
    incarnations?: {
      microvmId: string;
      epoch: number;
      phase: string;
      spec: { vcpus: number; memoryMiB: number; tenant: string };
      slot?: number;
      identity?: { pid: number };
    }[];
    fences?: [microvmId: string, epoch: number][];
  };
}

/**
 * Reads a host's journal by what is known of its format alone: lines of length and CRC-32 of a JSON text, in hexadecimal, and the
 * text. What is damaged or not whole is left out; `damagedInside` counts such lines that whole ones follow.
 */
export function readJournal(path: string): { records: JournalRecord[]; damagedInside: number } {
  const records: JournalRecord[] = [];
  let damaged = 0;
  let damagedInside = 0;
  for (const line of readFileSync(path).toString('utf8').split('\n')) {
    const record = recordOf(line);
    if (record) {
      records.push(record);
      damagedInside = damaged;
    } else if (line !== '') damaged++;
  }
  return { records, damagedInside };
}

/** A record as it lies in the file: for planting one. */
export function journalLine(record: JournalRecord): string {
  const text = Buffer.from(JSON.stringify(record), 'utf8');
  const head = [text.length, crc32(text)].map((value) => value.toString(16).padStart(8, '0'));
  return `${head.join(' ')} ${text.toString('utf8')}\n`;
}

function recordOf(line: string): JournalRecord | undefined {
  const [, length, sum, text] = /^([0-9a-f]{8}) ([0-9a-f]{8}) (\{.*\})$/.exec(line) ?? [];
  if (text === undefined) return undefined;
  const bytes = Buffer.from(text, 'utf8');
  return bytes.length === parseInt(length!, 16) && crc32(bytes) === parseInt(sum!, 16)
    ? (JSON.parse(text) as JournalRecord)
    : undefined;
}
