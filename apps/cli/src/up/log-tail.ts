import { closeSync, openSync, readSync, statSync } from 'node:fs';

export function sizeOf(file: string): number {
  try {
    return statSync(file).size;
  } catch {
    return 0;
  }
}

/** What was written to a file after `from`, at most 64 KiB of it. */
export function textAfter(file: string, from: number): { text: string; to: number } {
  const size = sizeOf(file);
  const start = size < from ? 0 : from; // it was rotated
  const buffer = Buffer.alloc(Math.min(size - start, 65_536));
  if (buffer.length === 0) return { text: '', to: start };
  const descriptor = openSync(file, 'r');
  try {
    const read = readSync(descriptor, buffer, 0, buffer.length, start);
    return { text: buffer.toString('utf8', 0, read), to: start + read };
  } finally {
    closeSync(descriptor);
  }
}

/** The last lines of a log, indented, to be shown with an error. */
export function lastLines(file: string, count = 8): string {
  const { text } = textAfter(file, Math.max(0, sizeOf(file) - 8_192));
  return text
    .trimEnd()
    .split('\n')
    .slice(-count)
    .map((line) => `    ${line.slice(0, 400)}`)
    .join('\n');
}
