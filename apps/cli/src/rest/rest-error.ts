import { CliError } from '../errors';
import { ExitCode } from '../exit-code';

/** RFC 9457, as the gateway answers it. */
export interface ProblemDocument {
  type?: string;
  title?: string;
  status?: number;
  detail: string;
  code?: string;
  errors?: { path: string; message: string }[];
}

/** Thrown when the API answered with an error; says in one line what its problem document says. */
export class RestError extends CliError {
  constructor(
    readonly status: number,
    readonly problem: ProblemDocument,
  ) {
    super(lineOf(problem), exitCodeOf(status));
  }
}

function lineOf({ detail, errors }: ProblemDocument): string {
  const wrong = (errors ?? [])
    .filter(({ message }) => !detail.includes(message))
    .map(({ path, message }) => `${path}: ${message}`);
  return [detail, ...wrong].join('; ').replace(/\s*\n\s*/g, ' ');
}

function exitCodeOf(status: number): number {
  switch (status) {
    case 400:
    case 413:
    case 415:
    case 422:
      return ExitCode.usage;
    case 404:
      return ExitCode.notFound;
    case 403:
    case 409:
    case 429:
      return ExitCode.refused;
    case 503:
      return ExitCode.notUp;
    case 504:
      return ExitCode.timeout;
    default:
      return ExitCode.failed;
  }
}
