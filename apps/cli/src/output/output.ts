/** Where a command writes what was asked for. */
export interface Output {
  readonly json: boolean;
  /** One line of text. Not for `--json`. */
  line(text?: string): void;
  /** Text as it is. */
  raw(text: string): void;
  /** One JSON document: indented for people alone on the screen, in one line as an entry of a stream. */
  document(value: unknown): void;
  entry(value: unknown): void;
  /** A remark about progress, on stderr, so that stdout holds the answer alone. */
  note(text: string): void;
}

export function outputTo(stdout: NodeJS.WritableStream, stderr: NodeJS.WritableStream, json: boolean): Output {
  return {
    json,
    line: (text = '') => void stdout.write(`${text}\n`),
    raw: (text) => void stdout.write(text),
    document: (value) => void stdout.write(`${JSON.stringify(value, null, 2)}\n`),
    entry: (value) => void stdout.write(`${JSON.stringify(value)}\n`),
    note: (text) => void stderr.write(`${text}\n`),
  };
}
