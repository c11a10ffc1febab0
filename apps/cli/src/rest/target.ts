import { readFileSync } from 'node:fs';
import { CliError } from '../errors';
import { ExitCode } from '../exit-code';
import { DataFolder } from '../supervisor/data-folder';
import { readState } from '../supervisor/supervisor-state';

/** Which API to talk to, and as whom. */
export interface Target {
  readonly url: string;
  token(): string | undefined;
  /** Certificates (PEM) of the authorities to believe; undefined: those that the system knows. */
  readonly ca?: string | undefined;
}

export interface TargetOptions {
  url?: string | undefined;
  tokenFile?: string | undefined;
  caFile?: string | undefined;
  data: string;
}

export const DEFAULT_URL = 'http://127.0.0.1:7400';

/**
 * The flags say it, else VOLLEY_URL and VOLLEY_TOKEN_FILE, else the data folder of a local `volley up`. A token of the data
 * folder is never sent to a URL that was given by hand, unless its file is given too.
 */
export function targetOf(options: TargetOptions, env: NodeJS.ProcessEnv = process.env): Target {
  const folder = DataFolder.at(options.data);
  const given = options.url ?? env['VOLLEY_URL'];
  const local = readState(folder)?.url;
  const url = given ?? local ?? DEFAULT_URL;
  try {
    const { protocol } = new URL(url);
    if (protocol !== 'http:' && protocol !== 'https:') throw new Error();
  } catch {
    throw new CliError(`${url} is not a URL such as ${DEFAULT_URL}`, ExitCode.usage);
  }
  const named = options.tokenFile ?? env['VOLLEY_TOKEN_FILE'];
  const isLocal = given === undefined || given === local;
  const file = named ?? (isLocal ? folder.operatorTokenFile : undefined);
  let token: string | undefined;
  return {
    url,
    token: () => (file === undefined ? undefined : (token ??= tokenIn(file, named !== undefined))),
    ca: authorities(options.caFile ?? env['VOLLEY_CA_FILE']),
  };
}

function authorities(file: string | undefined): string | undefined {
  if (file === undefined) return undefined;
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new CliError(`cannot read the certificates: ${(error as Error).message}`, ExitCode.usage);
  }
}

function tokenIn(file: string, mustExist: boolean): string | undefined {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT' && !mustExist) return undefined;
    throw new CliError(`cannot read the operator token: ${(error as Error).message}`, ExitCode.usage);
  }
}
