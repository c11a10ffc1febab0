import { ExitCode } from './exit-code';

/** Thrown by commands for anything the person at the keyboard can understand and act on; shown as one line, without a stack. */
export class CliError extends Error {
  override readonly name = 'CliError';
  constructor(
    message: string,
    readonly exitCode: number = ExitCode.failed,
  ) {
    super(message);
  }
}
