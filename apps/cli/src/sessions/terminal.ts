import type { ReadStream, WriteStream } from 'node:tty';

/** The terminal that a command was started in. */
export interface Terminal {
  readonly rows: number;
  readonly columns: number;
  onResize(act: (rows: number, columns: number) => void): void;
  /** Every key as it is typed, none of them special here, until {@link restore}. */
  raw(): void;
  /** Puts everything back. May be called again. */
  restore(): void;
}

/** The terminal of this process, if both its input and its output are one. */
export function terminalOf(stdin: NodeJS.ReadStream, stdout: NodeJS.WriteStream): Terminal | undefined {
  if (!stdin.isTTY || !stdout.isTTY) return undefined;
  const [input, output] = [stdin as ReadStream, stdout as WriteStream];
  let listener: (() => void) | undefined;
  let wasRaw: boolean | undefined;
  // One that nobody looks at (of `script`, say, or of an unattached multiplexer) may have no size: 0.
  const size = () => ({ rows: output.rows || 24, columns: output.columns || 80 });
  return {
    get rows() {
      return size().rows;
    },
    get columns() {
      return size().columns;
    },
    onResize(act) {
      listener = () => act(size().rows, size().columns);
      output.on('resize', listener);
    },
    raw() {
      wasRaw ??= input.isRaw;
      input.setRawMode(true);
    },
    restore() {
      if (listener) output.off('resize', listener);
      if (wasRaw !== undefined) input.setRawMode(wasRaw);
    },
  };
}
